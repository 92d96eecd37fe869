"""Folders of runs."""

import os
import time
from pathlib import Path

import pytest

from advbg.benchmark import reproduce as experiment
from advbg.benchmark.run_folder import begin_folder, open_folder
from advbg.files import remove_leftovers, write_atomically

SETTINGS = experiment.Settings("digits", ("baseline",), None, (1, 0, 0), 0)


@pytest.mark.parametrize("content", ["{", "[]", "1"])
def test_settings_of_a_damaged_run_are_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(ValueError, match=r"settings\.json is damaged"):
        experiment.open_run(tmp_path, SETTINGS, resume=True)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"methods": []}'])
def test_results_of_a_damaged_run_are_refused(content: str, tmp_path: Path) -> None:
    experiment.open_run(tmp_path, SETTINGS, resume=False)
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results\.json is damaged"):
        experiment.open_run(tmp_path, SETTINGS, resume=True)


@pytest.mark.parametrize("method", ["proposal", "paper", "black"])
def test_a_row_whose_masks_would_learn_nothing_is_refused_even_without_an_adversarial_phase(method: str) -> None:
    with pytest.raises(ValueError, match=rf"`epochs` .* must leave 1 or more to the masks, which {method} learn"):
        experiment.Settings("digits", ("baseline", method), None, (1, 0, 0), 0)


def test_rows_without_masks_need_no_epoch_for_them() -> None:
    assert experiment.Settings("digits", ("baseline", "attention"), None, (1, 0, 1), 0).epochs == (1, 0, 1)


def test_what_a_killed_run_had_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    torn = [tmp_path / f".state-{'0a' * 16}.pt", tmp_path / "seed-0" / f".results-{'f' * 32}.json"]
    kept = [tmp_path / ".notes", tmp_path / f"state-{'0a' * 16}.pt", tmp_path / ".state-12.pt", tmp_path / "state.pt"]
    (tmp_path / "seed-0").mkdir()
    for file in (*torn, *kept):
        file.write_bytes(b"x")
        os.utime(file, (0, time.time() - 2 * 3600))
    begin_folder(tmp_path, {})
    assert not any(file.exists() for file in torn)
    assert all(file.exists() for file in kept)


def test_what_a_process_writes_is_removed_only_when_it_is_old(tmp_path: Path) -> None:
    with write_atomically(tmp_path / "state.pt") as temporary:
        temporary.write_bytes(b"half")
        remove_leftovers(tmp_path)
        assert temporary.exists()
        os.utime(temporary, (0, time.time() - 2 * 3600))
        remove_leftovers(tmp_path)
        assert not temporary.exists()
        temporary.write_bytes(b"whole")
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("name", [f".settings-{'1' * 32}.json", ".DS_Store"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_nothing_but_hidden_files_takes_a_run(tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert open_folder(tmp_path, {"a": 1}, resume=resume) == {"a": 1}


def test_a_folder_with_other_files_takes_none(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_bytes(b"x")
    with pytest.raises(FileExistsError, match="has files that are not a run's"):
        open_folder(tmp_path, {}, resume=True)

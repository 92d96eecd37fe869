"""What a run of `advbg train` is tested on: other images than it was trained on."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from advbg.training.sets import copies_among
from tests.training.command_line import results_of, train
from tests.training.made_up import COLORS, a_folder, a_picture

BASELINE = ("--method", "baseline")


def _split_of(run: Path) -> dict[str, list[str]]:
    return json.loads((run / "split.json").read_text())


def test_a_folder_of_its_own_is_held_out_and_all_of_the_other_trained_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = a_folder(tmp_path / "validation", 2, seed=80)
    assert train(monkeypatch, folder, tmp_path / "run", *BASELINE, "--validation", validation) == 0
    split, results = _split_of(tmp_path / "run"), results_of(tmp_path / "run")
    assert sorted(split["training"]) == sorted(map(str, folder.rglob("*.png")))
    assert sorted(split["held_out"]) == sorted(map(str, validation.rglob("*.png")))
    assert (results["images"]["training"], results["images"]["held_out"]) == (30, 6)
    assert {part["n"] for part in results["sets"].values()} == {6}
    assert {Path(failure["file"]).parents[1] for failure in results["sets"]["held-out"]["failures"]} <= {validation}


def test_one_image_of_a_class_is_enough_where_none_of_it_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder, validation = a_folder(tmp_path / "images", 1), a_folder(tmp_path / "validation", 2, seed=80)
    quick = (*BASELINE, "--batch-size", 3)
    assert train(monkeypatch, folder, tmp_path / "run", *quick, "--validation", validation) == 0
    assert train(monkeypatch, folder, tmp_path / "another", *quick) == 2
    assert "classes with a single image, but each needs 2, one of them held out" in capsys.readouterr().err


def test_a_run_goes_on_only_with_the_same_held_out_images(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    validation = a_folder(tmp_path / "validation", 2, seed=80)
    options = (*BASELINE, "--epochs", 1, "--validation", validation)
    assert train(monkeypatch, folder, tmp_path / "run", *options) == 0
    (validation / "red" / "0.png").unlink()
    assert train(monkeypatch, folder, tmp_path / "run", *options, "--resume") == 2
    assert "what is held out has other files than" in " ".join(capsys.readouterr().err.split())


def test_held_out_images_are_padded_as_those_that_are_trained_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(model: object, data: object, *_: object, **__: object) -> None:
        seen.append(data)
        raise KeyboardInterrupt

    monkeypatch.setattr("advbg.training.run.fit", stop)
    validation = a_folder(tmp_path / "validation", 2, seed=80)
    assert train(monkeypatch, folder, tmp_path / "run", *BASELINE, "--validation", validation) == 130
    # Of pictures that are higher than wide, what pads them at both sides is white.
    assert (seen[0].held_out_images[..., :2] == 255).all()


def test_a_split_is_the_same_whatever_the_seed_and_another_one_for_another_seed_of_its_own(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {"first": (), "second": ("--seed", 5), "third": ("--split-seed", 5)}
    for name, options in runs.items():
        assert train(monkeypatch, folder, tmp_path / name, *BASELINE, "--epochs", 1, *options) == 0
    first, second, third = (_split_of(tmp_path / name)["held_out"] for name in runs)
    assert first == second != third


def test_only_images_with_a_plain_background_are_tested_before_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder = a_folder(tmp_path / "images", 8)
    noise = np.random.default_rng(0)
    validation = tmp_path / "validation"
    for index, name in enumerate(COLORS):
        (validation / name).mkdir(parents=True)
        a_picture(name, 90).save(validation / name / "plain.png")
        if index:
            Image.fromarray(noise.integers(0, 255, (32, 32, 3), np.uint8)).save(validation / name / "noisy.png")
    assert train(monkeypatch, folder, tmp_path / "run", *BASELINE, "--validation", validation) == 0
    results = results_of(tmp_path / "run")
    assert (results["images"]["held_out"], results["images"]["replaceable"]) == (5, 3)
    assert results["sets"]["held-out"]["n"] == 5
    before = {name: part for name, part in results["sets"].items() if name.startswith("held-out, before")}
    assert len(before) == 6
    for part in before.values():
        assert [part["per_class"][name]["n"] for name in COLORS] == [1, 1, 1]
    assert "2 of 5 held-out images have no plain background" in " ".join(capsys.readouterr().out.split())


def test_where_no_background_is_plain_nothing_is_tested_before_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, noise = tmp_path / "images", np.random.default_rng(0)
    for name in COLORS:
        (folder / name).mkdir(parents=True)
        for index in range(6):
            picture = noise.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(picture).save(folder / name / f"{index}.png")
    assert train(monkeypatch, folder, tmp_path / "run", *BASELINE) == 0
    assert list(results_of(tmp_path / "run")["sets"]) == ["held-out"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=2), max_size=6), st.lists(st.binary(max_size=2), max_size=6))
def test_copies_are_the_files_with_the_same_bytes(tmp_path: Path, ours: list[bytes], theirs: list[bytes]) -> None:
    def written(folder: str, contents: list[bytes]) -> list[Path]:
        (tmp_path / folder).mkdir(exist_ok=True)
        files = [tmp_path / folder / str(index) for index in range(len(contents))]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        return files

    files = written("ours", ours)
    # Empty files are no images.
    expected = [file for file, content in zip(files, ours, strict=True) if content and content in theirs]
    assert copies_among(files, written("theirs", theirs)) == expected


def test_files_that_cannot_be_read_are_copies_of_none(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).symlink_to(tmp_path / "gone")
    assert copies_among([tmp_path / "a"], [tmp_path / "b"]) == []

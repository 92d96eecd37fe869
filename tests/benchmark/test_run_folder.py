"""Folders of runs."""

from pathlib import Path

import pytest

from advbg.benchmark import reproduce as experiment

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

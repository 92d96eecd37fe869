"""Folders of runs."""

from pathlib import Path

import pytest

from advbg.benchmark import reproduce as experiment


def test_settings_of_a_damaged_run_are_refused(tmp_path: Path) -> None:
    settings = experiment.Settings("digits", ("baseline",), None, (1, 0, 0), 0)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ValueError, match=r"settings\.json is damaged"):
        experiment.open_run(tmp_path, settings, resume=True)

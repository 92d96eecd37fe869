"""A tiny run of `advbg reproduce`, for the tests of the command."""

from pathlib import Path

import pytest

from tests.command_line import run

REPRODUCE = ["reproduce", "--train-size", "64", "--epochs", "1,1,1"]


def make_run(folder: Path) -> Path:
    """A run of two methods in a new folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(monkeypatch, *REPRODUCE, "--output", folder) == 0
    return folder

"""Runs of `advbg train` from the command line, and what they leave."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import run


def train(monkeypatch: pytest.MonkeyPatch, folder: Path, output: Path | str, *arguments: object) -> int:
    quick = ("--model", "test_efficientnet", "--image-size", 32, "--epochs", 3, "--batch-size", 6)
    return run(monkeypatch, "train", folder, *quick, "--output", output, *arguments)


def results_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "results.json").read_text())

"""Runs of `advbg train` from the command line, and what they leave."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from advbg import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advbg", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def train(monkeypatch: pytest.MonkeyPatch, folder: Path, output: Path | str, *arguments: object) -> int:
    quick = ("--model", "test_efficientnet", "--image-size", 32, "--epochs", 3, "--batch-size", 6)
    return run(monkeypatch, "train", folder, *quick, "--output", output, *arguments)


def results_of(output: Path) -> dict[str, Any]:
    return json.loads((output / "results.json").read_text())

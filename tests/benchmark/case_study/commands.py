"""The command `advbg case-study`, run on a made-up study."""

import sys
from pathlib import Path

import pytest

from advbg import cli


def command(data_dir: Path, output: Path, *more: object) -> list[str]:
    return [
        *("case-study", "office10", "--data-dir", str(data_dir), "--photographs", str(data_dir / "photographs")),
        *("--model", "test_efficientnet", "--image-size", "32", "--epochs", "3", "--batch-size", "6"),
        *("--device", "cpu"),
        *("--output", str(output), *map(str, more)),
    ]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advbg", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)

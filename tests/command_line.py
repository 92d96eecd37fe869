"""The command line, in the process of the tests."""

import sys

import pytest

from advbg import cli


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run `advbg` with these arguments, for its exit code."""
    monkeypatch.setattr(sys, "argv", ["advbg", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)

"""Arguments that are empty, as those of shell variables that are not set: refused, never taken for another."""

from pathlib import Path

import pytest

from tests.command_line import run

_CASE_STUDY = ["case-study", "office10", "--photographs", "photographs"]
_EVALUATE = ["evaluate", "model.safetensors", "--dataset", "digits"]
_PREVIEW = ["preview", "images", "--output", "figure.png"]


def _refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(monkeypatch, *arguments) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "", "--dataset", "digits", "--backgrounds", "photographs"],
        [*_EVALUATE, "--backgrounds", ""],
        [*_EVALUATE, "--backgrounds", "photographs", "--data-dir", ""],
        *(["reproduce", option, ""] for option in ("--photographs", "--data-dir", "--output")),
        ["reproduce", "--task", "regression", "--published", ""],
        *(["tables", option, ""] for option in ("--data-dir", "--output", "--published", "--photographs")),
        ["masks", "", "--dataset", "digits"],
        ["masks", "companions.pt", "--dataset", "digits", "--data-dir", ""],
        ["bench", "--output", ""],
        ["report", ""],
        *(["report", "run", option, ""] for option in ("--against", "--output")),
        ["preview", "images", "", "--output", "figure.png"],
        ["preview", "images", "--output", ""],
        [*_PREVIEW, "--companions", ""],
        *([*_CASE_STUDY, option, ""] for option in ("--data-dir", "--weights", "--output", "--published")),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_not_the_current_folder(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "must not be empty" in _refused(monkeypatch, capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("command", "option", "message"),
    [
        (["reproduce"], "--methods", "`methods` (='')"),
        (["reproduce"], "--precision", "`precision` (='')"),
        (["reproduce"], "--epochs", "`epochs` (='')"),
        (["reproduce", "--task", "regression"], "--precision", "`precision` (='')"),
        (["reproduce", "--task", "regression"], "--epochs", "`epochs` (='')"),
        (["reproduce", "--task", "regression"], "--seeds", "`seeds` (='')"),
        (["tables"], "--methods", "`methods` (='')"),
        (_CASE_STUDY, "--rows", "`rows` (='')"),
    ],
)
def test_an_empty_option_is_not_its_default(
    command: list[str],
    option: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in _refused(monkeypatch, capsys, *command, option, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["evaluate", "reproduce", "tables", "masks", "bench", "preview", "case-study"])
def test_the_help_says_what_a_path_is_of(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, command, "--help") == 0
    said = capsys.readouterr().out
    assert "FILE" in said or "FOLDER" in said
    assert "some_path" not in said.lower()

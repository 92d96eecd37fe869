"""Case studies that cannot be run."""

import shutil
from pathlib import Path

import pytest

from tests.benchmark.case_study.commands import command
from tests.command_line import run


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rows", "nothing"), "`rows` (='nothing')"),
        (("--rows", "black,black"), "`rows` (='black,black')"),
        (("--epochs", "1"), "`epochs` (=1) must be 2 or more"),
        (("--image-size", "16"), "`image_size` (=16)"),
        (("--model", "resnet_of_mine"), "`model` (='resnet_of_mine')"),
        (("--weights", "nowhere.safetensors"), "`weights` (='nowhere.safetensors') does not exist"),
        (("--seeds", "0,0"), "`seeds` (='0,0')"),
        (("--model", "test_vit"), "the row `attention` needs a model with feature maps"),
        (("--photographs", "nowhere"), "nowhere"),
        (("--device", "tpu"), "`device` (='tpu') cannot be computed on: Expected one of cpu, cuda"),
        (("--batch-size", "15", "--epochs", "2"), "there are 3 phases"),
    ],
)
def test_what_cannot_be_run_is_refused_before_any_work(
    data_dir: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *command(data_dir, tmp_path / "run"), *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_place_to_publish_that_takes_no_files_is_refused_before_any_training(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").touch()
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--published", tmp_path / "docs")) == 2
    assert "the folder of `published`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_list_of_photographs_is_named(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "photographs.json").write_text("{")
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--resume")) == 2
    assert "photographs.json is damaged" in capsys.readouterr().err


def test_a_folder_that_would_be_read_as_several_sources_is_refused_where_they_are_mixed(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs = tmp_path / "trees, rivers"
    shutil.copytree(data_dir / "photographs", photographs)
    arguments = command(data_dir, tmp_path / "run", "--photographs", photographs, "--seeds", "0")
    assert run(monkeypatch, *arguments) == 2
    assert "must have no comma for the row `proposal + photographs`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(monkeypatch, *arguments, "--rows", "photographs") == 0

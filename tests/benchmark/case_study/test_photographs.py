"""Photographs of case studies, shared out between training and test."""

import shutil
from pathlib import Path

import pytest

from advbg.backgrounds.photographs import list_images
from advbg.benchmark.case_study.photographs import check_photographs, share_out_photographs
from tests.training.made_up import a_picture


def test_photographs_of_the_test_are_none_of_the_training(data_dir: Path, tmp_path: Path) -> None:
    folders = share_out_photographs(data_dir / "photographs", tmp_path)
    training, unseen = ({file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert len(training) == 4
    assert len(unseen) == 3
    assert not training & unseen


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    a_picture().save(tmp_path / "one.png")
    with pytest.raises(ValueError, match=r"must have 3 images or more, got 1"):
        check_photographs(tmp_path, tmp_path / "run")


def test_photographs_are_not_shared_out_anew_when_others_came(data_dir: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "photographs", tmp_path / "run"
    shutil.copytree(data_dir / "photographs", folder)
    check_photographs(folder, output)
    share_out_photographs(folder, output)
    check_photographs(folder, output)
    a_picture().save(folder / "0.png")
    with pytest.raises(ValueError, match=r"has other files than when the run in .* shared them out"):
        check_photographs(folder, output)


def test_photographs_that_cannot_be_read_are_named_before_any_training(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(data_dir / "photographs", folder)
    (folder / "broken.jpg").write_bytes(b"oops")
    with pytest.raises(ValueError, match=r"1 of 8 photographs cannot be read: .*broken\.jpg cannot be read"):
        check_photographs(folder, tmp_path / "run")


def test_a_copy_that_was_broken_off_is_not_taken_for_a_whole_one(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_off(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:50])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", broken_off)
        with pytest.raises(KeyboardInterrupt):
            share_out_photographs(data_dir / "photographs", tmp_path)
    copies = [file for folder in share_out_photographs(data_dir / "photographs", tmp_path) for file in folder.iterdir()]
    originals = list_images(data_dir / "photographs")
    assert sorted(file.read_bytes() for file in copies) == sorted(file.read_bytes() for file in originals)

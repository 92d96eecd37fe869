"""Photographs of case studies: which are trained with, and which are tested before."""

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advbg.backgrounds.photographs import list_images, read_image
from advbg.benchmark.case_study import running
from advbg.benchmark.case_study.photographs import (
    PARTS,
    check_photographs,
    left_out_of_training,
    note_photographs,
    shown_in_tests,
)
from advbg.benchmark.case_study.studies import load_study
from advbg.benchmark.case_study.testing import NEW_BACKGROUND, columns_of
from advbg.training.settings import photographs_in
from tests.benchmark.case_study.commands import command
from tests.command_line import run
from tests.training.made_up import a_picture


@given(count=st.integers(9, 400), first=st.integers(0, 10**6))
def test_in_three_seeds_every_photograph_is_left_out_once_and_some_of_each_third_are_tested(
    count: int, first: int
) -> None:
    files = [Path(f"{index:03d}.jpg") for index in range(count)]
    thirds = [left_out_of_training(files, seed) for seed in range(first, first + PARTS)]
    assert sorted(file for third in thirds for file in third) == files
    for third in thirds:
        assert abs(len(third) - count / PARTS) < 1
        assert set(third) & set(shown_in_tests(files))


def test_crops_of_one_picture_are_never_trained_with_and_shown_in_tests() -> None:
    files = [Path(f"{picture}_{crop:02d}.jpg") for picture in "abcdefghi" for crop in range(12)]
    for seed in range(PARTS):
        unseen = left_out_of_training(files, seed)
        trained = {file.name[0] for file in set(files) - set(unseen)}
        assert not trained & {file.name[0] for file in unseen}


def test_a_training_sees_no_photograph_that_it_is_shown_in_tests(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, tested = [], []
    fit, measure = running.fit, running.measure
    monkeypatch.setattr(running, "fit", lambda *args, **options: trained.append(args[2]) or fit(*args, **options))
    monkeypatch.setattr(
        running, "measure", lambda *args, **options: tested.append(args[1]) or measure(*args, **options)
    )
    rows = "photographs,proposal + photographs,black"
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--seeds", "4", "--rows", rows)) == 0
    files = list_images(data_dir / "photographs")
    unseen = set(left_out_of_training(files, 4))
    for settings, columns in zip(trained[:2], tested[:2], strict=True):
        (source,) = photographs_in(settings.companion_options())
        assert set(source.files) == set(files) - unseen
        assert set(columns.behind) == unseen & set(shown_in_tests(files))
        assert len(columns.behind) == len(columns.sets[NEW_BACKGROUND].pixels)
    assert set(tested[2].behind) == set(shown_in_tests(files))


def test_new_backgrounds_are_of_the_photographs_that_they_are_said_to_be_of(data_dir: Path, tmp_path: Path) -> None:
    for index in range(9):
        Image.new("RGB", (40, 40), (28 * index, 100, 10)).save(tmp_path / f"{index}.png")
    study = load_study("office10", data_dir, 32)
    columns = columns_of(study, tmp_path)
    everything = columns.sets[NEW_BACKGROUND]
    some = columns.before([tmp_path / "3.png"])
    kept = [index for index, file in enumerate(columns.behind) if file.name == "3.png"]
    assert torch.equal(some.sets[NEW_BACKGROUND].pixels, everything.pixels[kept])
    assert torch.equal(some.sets[NEW_BACKGROUND].targets, everything.targets[kept])
    corner = study.silhouettes.repeat(4, 1, 1, 1)[:, 0, 0, 0]
    for image, file, hidden in zip(everything.pixels, columns.behind, corner, strict=True):
        shown = 255 * read_image(file, 3)[:, 0, 0]
        assert hidden or torch.allclose(image[:, 0, 0].float(), shown, atol=1)


def test_a_row_whose_photographs_stand_behind_nothing_is_refused_before_anything_is_written(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photographs").mkdir()
    for index in range(40):
        Image.new("RGB", (8, 8)).save(tmp_path / "photographs" / f"{index:02d}.png")
    behind = columns_of(load_study("office10", data_dir, 32), tmp_path / "photographs").behind
    monkeypatch.setattr(
        "advbg.benchmark.case_study.running.left_out_of_training",
        lambda files, seed: [file for file in files if file not in behind],
    )
    arguments = command(data_dir, tmp_path / "run", "--photographs", tmp_path / "photographs", "--rows")
    assert run(monkeypatch, *arguments, "baseline,photographs") == 2
    assert "none of the 12 new backgrounds is of the photographs that a training leaves out" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert run(monkeypatch, *arguments, "baseline", "--seeds", "0") == 0


def test_too_few_photographs_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    a_picture().save(tmp_path / "photographs" / "one.png")
    with pytest.raises(ValueError, match=r"must have 9 images or more, got 1"):
        check_photographs(tmp_path / "photographs", tmp_path / "run")


def test_a_run_does_not_go_on_with_other_photographs(data_dir: Path, tmp_path: Path) -> None:
    folder, output = tmp_path / "photographs", tmp_path / "run"
    shutil.copytree(data_dir / "photographs", folder)
    output.mkdir()
    assert check_photographs(folder, output) == note_photographs(folder, output)
    check_photographs(folder, output)
    a_picture().save(folder / "0.png")
    with pytest.raises(ValueError, match=r"has other files than when the run in .* began"):
        check_photographs(folder, output)


def test_photographs_that_cannot_be_read_are_named_before_any_training(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    shutil.copytree(data_dir / "photographs", folder)
    (folder / "broken.jpg").write_bytes(b"oops")
    with pytest.raises(ValueError, match=r"1 of 10 photographs cannot be read: .*broken\.jpg cannot be read"):
        check_photographs(folder, tmp_path / "run")


def test_a_run_is_not_written_among_its_photographs(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = data_dir / "photographs" / "run"
    assert run(monkeypatch, *command(data_dir, output, "--seeds", "0")) == 2
    assert not output.exists()

"""Folders of classes are checked file by file."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
import torch
from PIL import Image

from advbg.training import folders
from advbg.training.folders import (
    check_memory,
    check_readable,
    check_test_folder,
    check_training_folder,
    find_classes,
    load_images,
    split,
)
from tests.training.made_up import a_folder, a_picture


def loaded(folder, size=16, **options):
    found = find_classes(folder)
    return load_images(found, found.classes, size, "pad", **options)


def test_classes_and_files_are_sorted(tmp_path: Path) -> None:
    found = find_classes(a_folder(tmp_path / "f", 2))
    assert found.classes == ("blå", "green", "red")
    assert [f"{file.parent.name}/{file.name}" for file in found.files] == [
        *("blå/0.png", "blå/1.png", "green/0.png", "green/1.png", "red/0.png", "red/1.png")
    ]
    assert found.labels == ("blå", "blå", "green", "green", "red", "red")


def test_sub_folders_belong_to_their_class_and_hidden_ones_to_none(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 1)
    for place in ("red/more", "red/.ipynb_checkpoints", ".cache"):
        (folder / place).mkdir()
        a_picture().save(folder / place / "x.PNG")
    (folder / "red" / ".hidden.png").write_bytes(b"")
    found = find_classes(folder)
    assert found.classes == ("blå", "green", "red")
    assert Counter(found.labels) == {"blå": 1, "green": 1, "red": 2}


def test_files_that_are_no_images_are_counted(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 1)
    for name in ("red/notes.txt", "red/Thumbs.db", "blå/LICENSE", "more.TXT", "loose.png", "README"):
        (folder / name).write_bytes(b"x")
    assert find_classes(folder).passed_over == {".txt": 2, ".db": 1, "LICENSE": 1, ".png": 1, "README": 1}


def test_both_spellings_of_an_accent_are_one_class(tmp_path: Path) -> None:
    test = tmp_path / "test" / unicodedata.normalize("NFD", "blå")
    test.mkdir(parents=True)
    a_picture().save(test / "x.png")
    assert test.name != "blå"
    found = find_classes(tmp_path / "test")
    assert found.classes == ("blå",)
    check_test_folder(found, ["blå", "red"])


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        find_classes(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no sub-folders"):
        find_classes(tmp_path / "empty")
    folder = a_folder(tmp_path / "f", 2)
    (folder / "yellow").mkdir()
    (folder / "orange").mkdir()
    with pytest.raises(ValueError, match=r"classes without images .*: orange, yellow$"):
        find_classes(folder)
    (tmp_path / "one" / "only").mkdir(parents=True)
    a_picture().save(tmp_path / "one" / "only" / "x.png")
    with pytest.raises(ValueError, match="has one class only: only"):
        check_training_folder(find_classes(tmp_path / "one"))
    with pytest.raises(ValueError, match=r"a single image.*: blå, green, red"):
        check_training_folder(find_classes(a_folder(tmp_path / "g", 1)))


def test_unknown_classes_of_a_test_folder_are_named_and_missing_ones_are_not(tmp_path: Path) -> None:
    found = find_classes(a_folder(tmp_path / "f", 1))
    check_test_folder(found, ["blå", "green", "red", "yellow"])
    with pytest.raises(ValueError, match="classes that the training folder has not: blå, red"):
        check_test_folder(found, ["green", "yellow"])


def test_targets_follow_the_classes_of_the_training(tmp_path: Path) -> None:
    found = find_classes(a_folder(tmp_path / "f", 1))
    images = load_images(found, ["a", "blå", "green", "red"], 16, "pad")
    assert images.targets.tolist() == [1, 2, 3]
    assert images.pixels.shape == (3, 3, 16, 16)


def test_every_broken_file_is_named_or_skipped_on_demand(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 3)
    (folder / "red" / "1.png").write_bytes(b"")
    (folder / "blå" / "2.png").write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match=r"2 of 9 files .*--skip-unreadable goes on.*blå/2.png.*red/1.png"):
        loaded(folder)
    whole = loaded(a_folder(tmp_path / "g", 3))
    kept = loaded(folder, skip_unreadable=True)
    assert [file.name for file in kept.unreadable] == ["2.png", "1.png"]
    still = [index for index in range(9) if index not in (2, 7)]
    assert torch.equal(kept.pixels, whole.pixels[still])
    assert kept.targets.tolist() == whole.targets[still].tolist()
    assert [file.name for file in kept.files] == [whole.files[index].name for index in still]


def test_many_broken_files_are_counted(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 3)
    for file in folder.rglob("*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"9 of 9 .*blå/0.png.* and 4 more$"):
        loaded(folder, skip_unreadable=True)


def test_images_that_do_not_fit_in_half_of_the_memory_are_refused(monkeypatch) -> None:
    monkeypatch.setattr(folders.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 6}[name])
    check_memory(3 * 4096, "everything", "pass less")
    with pytest.raises(ValueError, match=r"^everything needs 0.0 GB for images, more than half .* GB: pass less$"):
        check_memory(3 * 4096 + 1, "everything", "pass less")


def test_tiny_images_are_enlarged(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 1)
    Image.new("RGB", (5, 7), (9, 9, 9)).save(folder / "red" / "tiny.png")
    assert (loaded(folder, 64).pixels[-1] == 9).all()


def test_a_share_of_each_class_is_held_out(tmp_path: Path) -> None:
    images = loaded(a_folder(tmp_path / "f", 10))
    training, held_out = split(images, 3, 0.2, seed=0)
    assert torch.bincount(images.targets[held_out]).tolist() == [2, 2, 2]
    assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(30))
    again = split(images, 3, 0.2, seed=0)
    assert torch.equal(again[1], held_out)
    assert not torch.equal(split(images, 3, 0.2, seed=1)[1], held_out)


@pytest.mark.parametrize(("count", "share", "held_out"), [(5, 0.35, 2), (5, 0.25, 1), (4, 0.7, 3)])
def test_the_share_that_is_held_out_is_rounded_to_the_nearest_image(
    tmp_path: Path, count: int, share: float, held_out: int
) -> None:
    images = loaded(a_folder(tmp_path / "f", count))
    found = split(images, 3, share, seed=0)[1]
    assert torch.bincount(images.targets[found]).tolist() == [held_out] * 3


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_every_class_has_images_on_both_sides(tmp_path: Path, share) -> None:
    images = loaded(a_folder(tmp_path / "f", 2))
    for part in split(images, 3, share, seed=0):
        assert torch.bincount(images.targets[part]).tolist() == [1, 1, 1]


def test_a_class_that_loses_its_images_is_named(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "f", 2)
    (folder / "green" / "1.png").write_bytes(b"")
    with pytest.raises(ValueError, match="class 'green' has 1 images that can be read"):
        check_readable(loaded(folder, skip_unreadable=True), ["blå", "green", "red"])


@pytest.mark.parametrize("parts", [("train", "val"), ("Training", "Validation", "Test")])
def test_the_root_of_a_data_set_is_not_taken_for_a_folder_of_classes(tmp_path: Path, parts) -> None:
    for name in parts:
        a_folder(tmp_path / name, 2)
    with pytest.raises(ValueError, match=f"has {', '.join(sorted(parts))} for classes, which are parts of a data set"):
        check_training_folder(find_classes(tmp_path))


def test_parts_of_a_data_set_among_others_are_classes(tmp_path: Path) -> None:
    for name in ("train", "bus"):
        (tmp_path / name).mkdir()
        for index in range(2):
            a_picture(seed=index).save(tmp_path / name / f"{index}.png")
    check_training_folder(find_classes(tmp_path))

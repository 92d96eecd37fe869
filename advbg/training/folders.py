"""Folders of classes: what is in them, checked file by file before any training."""

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from advbg.backgrounds.photographs import IMAGE_SUFFIXES, visible_files
from advbg.naming import name_some
from advbg.training.squares import read_square

# What data sets call their parts; a folder with no others is taken for the root of one.
_PARTS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True)
class ClassFolder:
    """The image files of a folder with a sub-folder for each class.

    Attributes:
        path: the folder.
        classes: names of its sub-folders in alphabetical order, in Unicode's composed form (NFC), since macOS and Linux
            spell the same accents differently.
        files: of all classes, class by class, in alphabetical order.
        labels: the name of each file's class.
        passed_over: how many files there are besides, for each of their endings.
    """

    path: Path
    classes: tuple[str, ...]
    files: tuple[Path, ...]
    labels: tuple[str, ...]
    passed_over: dict[str, int]


@dataclass(frozen=True)
class LoadedImages:
    """Images in memory.

    Attributes:
        pixels: square colour images.
        targets: indices of classes.
        files: where each image came from.
        unreadable: files that were skipped, and why.
    """

    pixels: UInt8[Tensor, "count 3 size size"]
    targets: Int64[Tensor, "count"]
    files: tuple[Path, ...]
    unreadable: dict[Path, str]

    def chosen(self, indices: Int64[Tensor, "chosen"]) -> "LoadedImages":
        """Copies of some of the images."""
        files = tuple(self.files[index] for index in indices.tolist())
        return LoadedImages(self.pixels[indices], self.targets[indices], files, {})


def find_classes(folder: Path, argument: str = "FOLDER") -> ClassFolder:
    """List the classes of a folder and their image files (jpg, png, bmp, webp, tif), sub-folders included.

    Args:
        folder: with one sub-folder for each class; hidden files and folders are passed over.
        argument: what the command line calls it, for messages.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has no sub-folders, or one of them no image; they are named.
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"`{argument}` (={str(folder)!r}) is not a directory")
    found: dict[str, list[Path]] = {}
    passed_over: Counter[str] = Counter()
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            passed_over[entry.suffix.lower() or entry.name] += 1
            continue
        images = found.setdefault(unicodedata.normalize("NFC", entry.name), [])
        for file in visible_files(entry, {folder.resolve()}):
            if file.suffix.lower() in IMAGE_SUFFIXES:
                images.append(file)
            else:
                passed_over[file.suffix.lower() or file.name] += 1
    if not found:
        raise ValueError(f"`{argument}` (={str(folder)!r}) has no sub-folders: each class needs one, with its images")
    if empty := [name for name, files in found.items() if not files]:
        raise ValueError(
            f"`{argument}` (={str(folder)!r}) has classes without images ({', '.join(sorted(IMAGE_SUFFIXES))}): "
            f"{', '.join(sorted(empty))}"
        )
    # Of an image and links to it, one: the others would be held out of the training that has it.
    found = {
        name: list({os.path.realpath(file): file for file in sorted(files, reverse=True)}.values())
        for name, files in found.items()
    }
    classes = tuple(sorted(found))
    files = tuple(file for name in classes for file in sorted(found[name]))
    labels = tuple(name for name in classes for _ in found[name])
    return ClassFolder(folder, classes, files, labels, dict(passed_over))


def check_training_folder(folder: ClassFolder, least: int = 2) -> None:
    """Check that a folder can be trained on.

    Args:
        folder: from `find_classes`.
        least: images of each class: 2 where one is held out, else 1.

    Raises:
        ValueError: where it has one class only, its classes are parts of a data set, or a class has fewer images.
    """
    if {name.lower() for name in folder.classes} <= _PARTS:
        raise ValueError(
            f"`FOLDER` (={str(folder.path)!r}) has {', '.join(folder.classes)} for classes, which are parts of a data "
            "set: pass one of them, and others as --validation or --test"
        )
    if len(folder.classes) < 2:
        raise ValueError(f"`FOLDER` (={str(folder.path)!r}) has one class only: {', '.join(folder.classes)}")
    counts = Counter(folder.labels)
    if lonely := [name for name in folder.classes if counts[name] < least]:
        raise ValueError(
            f"`FOLDER` (={str(folder.path)!r}) has classes with a single image, but each needs 2, one of them held "
            f"out: {', '.join(lonely)}"
        )


def check_test_folder(folder: ClassFolder, classes: Sequence[str], argument: str = "--test") -> None:
    """Check that a test folder has no classes but those of the training; it may lack some.

    Args:
        folder: from `find_classes`.
        classes: of the training.
        argument: what the command line calls the folder, for messages.

    Raises:
        ValueError: where it has others; they are named.
    """
    if unknown := sorted(set(folder.classes) - set(classes)):
        raise ValueError(
            f"`{argument}` (={str(folder.path)!r}) has classes that the training folder has not: {', '.join(unknown)}"
        )


def load_images(
    folder: ClassFolder, classes: Sequence[str], size: int, fit: str, *, skip_unreadable: bool = False
) -> LoadedImages:
    """Read every file of a folder, before any work that a broken one could undo.

    Args:
        folder: from `find_classes`.
        classes: of the training; their order says the targets.
        size: side of the squares, in pixels.
        fit: how images become square.
        skip_unreadable: whether to go on without broken files.

    Raises:
        ValueError: where files cannot be read and `skip_unreadable` is off, or none can be read; they are named.
    """
    pixels = torch.empty((len(folder.files), 3, size, size), dtype=torch.uint8)

    def read(index: int) -> str | None:
        try:
            pixels[index] = read_square(folder.files[index], size, fit)
        except ValueError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(read, range(len(folder.files))))
    unreadable = {folder.files[index]: problem for index, problem in enumerate(problems) if problem is not None}
    if unreadable and (not skip_unreadable or len(unreadable) == len(problems)):
        hint = "" if skip_unreadable else "; --skip-unreadable goes on without"
        raise ValueError(
            f"{len(unreadable)} of {len(problems)} files in {str(folder.path)!r} cannot be read{hint}: "
            f"{name_some(list(unreadable.values()), '; ')}"
        )
    kept = [index for index, problem in enumerate(problems) if problem is None]
    targets = torch.tensor([classes.index(folder.labels[index]) for index in kept])
    # Indexing copies, which all of the images should be spared.
    pixels = pixels[kept] if unreadable else pixels
    return LoadedImages(pixels, targets, tuple(folder.files[index] for index in kept), unreadable)


def check_readable(images: LoadedImages, classes: Sequence[str], least: int = 2) -> None:
    """Check that enough images are left of each class, where unreadable ones were skipped.

    Args:
        images: of a training folder.
        classes: their names.
        least: images of each class.

    Raises:
        ValueError: where a class has fewer; it is named.
    """
    for name, count in zip(classes, torch.bincount(images.targets, minlength=len(classes)).tolist(), strict=True):
        if count < least:
            raise ValueError(f"class {name!r} has {count} images that can be read, but each class needs {least}")


def split(images: LoadedImages, classes: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Choose images to hold out, the same share of each class.

    Args:
        images: at least 2 of each class, as `check_readable` has it.
        classes: how many there are.
        share: of the images of each class, in (0, 1); at least one is held out and one is left.
        seed: the same one holds out the same files.

    Returns:
        Indices of the training images and of those that are held out, both in ascending order.
    """
    generator = torch.Generator().manual_seed(seed)
    held_out = []
    for target in range(classes):
        members = torch.nonzero(images.targets == target).flatten()
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held_out.append(members[torch.randperm(len(members), generator=generator)[:count]])
    is_held_out = torch.zeros(len(images.targets), dtype=torch.bool)
    is_held_out[torch.cat(held_out)] = True
    return torch.nonzero(~is_held_out).flatten(), torch.nonzero(is_held_out).flatten()


def check_apart(output: Path, folders: Sequence[Path]) -> None:
    """Check that a run is not written among images, where its figures would be taken for some.

    Args:
        output: of the run.
        folders: of images.

    Raises:
        ValueError: where `output` is one of them or lies in one.
    """
    for folder in folders:
        if output.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"`output` (={str(output)!r}) lies in {str(folder)!r}, among the images: pass another")


def check_memory(needed: int, what: str, hint: str) -> None:
    """Check that images fit in half of the machine's memory, where that is known.

    Args:
        needed: bytes of the images that are held at once, copies included.
        what: needs them, for messages.
        hint: what to do about it.

    Raises:
        ValueError: where they do not fit.
    """
    if hasattr(os, "sysconf") and 2 * needed > (there := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
        raise ValueError(
            f"{what} needs {needed / 1e9:.1f} GB for images, more than half of this machine's memory of "
            f"{there / 1e9:.1f} GB: {hint}"
        )

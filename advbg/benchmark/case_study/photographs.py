"""Photographs to train with, and others to test before."""

from collections.abc import Sequence
from pathlib import Path

from advbg.backgrounds.photographs import list_images, open_upright
from advbg.benchmark.files import read_json, write_json
from advbg.naming import name_some
from advbg.training.folders import check_apart

# A training with photographs leaves out one of so many parts of the folder; seeds take turns.
PARTS = 3

# Every so many-th photograph, in alphabetical order, is tested before.
_EVERY = 3

# With fewer, a part may have none that is tested before.
_FEWEST = PARTS * _EVERY


def check_photographs(folder: Path, output: Path) -> list[Path]:
    """List the photographs of a folder, once every one of them could be opened.

    Args:
        folder: of photographs.
        output: folder of the run.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has fewer than nine images, some cannot be read, the run in `output` had others or its list
            of them is damaged, or `output` lies among them.
    """
    check_apart(output, [folder])
    files = list_images(folder, "photographs")
    if len(files) < _FEWEST:
        raise ValueError(f"`photographs` (={str(folder)!r}) must have {_FEWEST} images or more, got {len(files)}")
    before = _list_of(output)
    if before.is_file() and read_json(before) != _described(folder, files):
        raise ValueError(
            f"`photographs` (={str(folder)!r}) has other files than when the run in {str(output)!r} began: rows would "
            "be trained and tested before different ones"
        )
    problems = []
    for file in files:
        try:
            open_upright(file)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"{len(problems)} of {len(files)} photographs cannot be read: {name_some(problems, '; ')}")
    return files


def note_photographs(folder: Path, output: Path) -> list[Path]:
    """List the photographs of a folder, and write down in a run which they are, for `check_photographs`.

    Args:
        folder: of photographs that `check_photographs` lets pass.
        output: folder of the run.
    """
    files = list_images(folder, "photographs")
    write_json(_list_of(output), _described(folder, files))
    return files


def shown_in_tests(files: Sequence[Path]) -> list[Path]:
    """Those of a folder's photographs that objects are put before in the test.

    Args:
        files: all of them, in alphabetical order.
    """
    return list(files[::_EVERY])


def left_out_of_training(files: Sequence[Path], seed: int) -> list[Path]:
    """The third of a folder's photographs that a training does not see: neighbours in alphabetical order.

    Neighbours are often crops of one picture, or pictures of one place: a training that sees some of them knows the
    others.

    Args:
        files: all of them, in alphabetical order.
        seed: of the training; in three that follow each other every photograph is left out once.
    """
    part = seed % PARTS
    return list(files[len(files) * part // PARTS : len(files) * (part + 1) // PARTS])


def _list_of(output: Path) -> Path:
    return output / "photographs.json"


def _described(folder: Path, files: Sequence[Path]) -> dict[str, int]:
    """Files by their places in the folder, with their sizes in bytes."""
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}

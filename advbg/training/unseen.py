"""Tests are on images that were not trained on."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from advbg.naming import name_some
from advbg.training.folders import ClassFolder


def check_unseen(tests: Iterable[tuple[str, ClassFolder]], trained: Mapping[str, Collection[Path]]) -> None:
    """Refuse test folders with files, or copies of files, that are trained on.

    Args:
        tests: the folders, each with what the command line calls it.
        trained: files by what they are, for messages.

    Raises:
        ValueError: where there are some; the first are named.
    """
    for argument, test in tests:
        for what, files in trained.items():
            if seen := copies_among(test.files, files):
                raise ValueError(
                    f"`{argument}` (={str(test.path)!r}) has {len(seen)} of its {len(test.files)} images from {what}, "
                    f"which are trained on: {name_some([str(file) for file in seen])}"
                )


def copies_among(files: Sequence[Path], others: Collection[Path]) -> list[Path]:
    """Which files have the same bytes as one of the others: itself, a link to it or a copy of it.

    Args:
        files: to look at.
        others: to compare them with; a file is read where one of the others is as large. Those that cannot be read are
            like none.
    """
    sizes = {file: _size(file) for file in (*files, *others)}
    shared = {sizes[file] for file in files} & {sizes[file] for file in others} - {None}
    known = {_digest(file) for file in others if sizes[file] in shared} - {None}
    return [file for file in files if sizes[file] in shared and _digest(file) in known]


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _digest(file: Path) -> bytes | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return None

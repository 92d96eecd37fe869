"""The sets of images that a model is tested on: by name, and none that it was trained on."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from advbg.naming import name_some
from advbg.training.folders import ClassFolder

# In the results, beside the test folders.
HELD_OUT = "held-out"
BEFORE = "held-out, before "


def name_tests(folders: Sequence[ClassFolder], argument: str = "--test") -> dict[str, ClassFolder]:
    """Call test folders by their own names, or by their paths where those are not different.

    Args:
        folders: to test on.
        argument: what the command line calls them, for messages.

    Raises:
        ValueError: where a folder is named twice.
    """
    names = [folder.path.resolve().name for folder in folders]
    if len(set(names)) < len(names) or any(name.startswith(HELD_OUT) for name in names):
        paths = [str(folder.path) for folder in folders]
        # What is held out has that name.
        names = [f"./{path}" if path.startswith(HELD_OUT) else path for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"`{argument}` (={', '.join(names)}) names a folder twice")
    return dict(zip(names, folders, strict=True))


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
        # Of empty files it is said when images are loaded, as of others that cannot be read.
        return file.stat().st_size or None
    except OSError:
        return None


def _digest(file: Path) -> bytes | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return None

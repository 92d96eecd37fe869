"""Photographs to train with, and others to test before."""

import shutil
from pathlib import Path

from advbg.backgrounds.photographs import list_images

# Every so many-th photograph, in alphabetical order, is only tested before.
_EVERY = 3


def check_photographs(folder: Path) -> list[Path]:
    """List the photographs of a folder.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has fewer than three images.
    """
    files = list_images(folder)
    if len(files) < _EVERY:
        raise ValueError(f"`photographs` (={str(folder)!r}) must have {_EVERY} images or more, got {len(files)}")
    return files


def share_out_photographs(folder: Path, output: Path) -> tuple[Path, Path]:
    """Copy photographs into two folders of a run.

    Args:
        folder: of photographs, at least three.
        output: folder of the run.

    Returns:
        The folder of those to train with, two of three, and that of those that no training sees.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has fewer than three images.
    """
    files = check_photographs(folder)
    folders = output / "photographs" / "training", output / "photographs" / "unseen"
    for place in folders:
        place.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(files):
        # The number keeps files apart that have the same name in different sub-folders.
        target = folders[index % _EVERY == 0] / f"{index:05d}{file.suffix.lower()}"
        if not target.exists():
            shutil.copyfile(file, target)
    return folders

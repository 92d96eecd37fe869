"""Photographs to train with, and others to test before."""

import json
import shutil
from pathlib import Path

from advbg.backgrounds.photographs import list_images, open_upright
from advbg.benchmark.files import write_json
from advbg.files import write_atomically
from advbg.naming import name_some

# Every so many-th photograph, in alphabetical order, is only tested before.
_EVERY = 3


def check_photographs(folder: Path, output: Path) -> list[Path]:
    """List the photographs of a folder, once every one of them could be opened.

    Args:
        folder: of photographs.
        output: folder of the run.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has fewer than three images, some cannot be read, or the run in `output` shared out others.
    """
    files = list_images(folder, "photographs")
    if len(files) < _EVERY:
        raise ValueError(f"`photographs` (={str(folder)!r}) must have {_EVERY} images or more, got {len(files)}")
    before = _list_of(output)
    if before.is_file() and json.loads(before.read_text(encoding="utf-8")) != _described(folder, files):
        raise ValueError(
            f"`photographs` (={str(folder)!r}) has other files than when the run in {str(output)!r} shared them out: "
            "what is trained with could be what is tested before"
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


def share_out_photographs(folder: Path, output: Path) -> tuple[Path, Path]:
    """Copy photographs into two folders of a run.

    Args:
        folder: of photographs that `check_photographs` lets pass.
        output: folder of the run.

    Returns:
        The folder of those to train with, two of three, and that of those that no training sees.
    """
    files = list_images(folder, "photographs")
    folders = output / "photographs" / "training", output / "photographs" / "unseen"
    for place in folders:
        place.mkdir(parents=True, exist_ok=True)
    write_json(_list_of(output), _described(folder, files))
    for index, file in enumerate(files):
        # The number keeps files apart that have the same name in different sub-folders.
        target = folders[index % _EVERY == 0] / f"{index:05d}{file.suffix.lower()}"
        if not target.exists():
            with write_atomically(target) as temporary:
                shutil.copyfile(file, temporary)
    return folders


def _list_of(output: Path) -> Path:
    return output / "photographs" / "files.json"


def _described(folder: Path, files: list[Path]) -> dict[str, int]:
    """Files by their places in the folder, with their sizes in bytes."""
    return {str(file.relative_to(folder)): file.stat().st_size for file in files}

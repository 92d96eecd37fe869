"""Text, JSON and copies, written whole or not at all; and what is checked of files before work begins."""

import json
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from advbg.files import write_atomically


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def copy_file(source: Path, path: Path) -> None:
    """Copy what is in a file."""
    # Before the context, which would say that it is `path` that cannot be read.
    content = source.read_bytes()
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def read_json(file: Path, *parts: str) -> dict[str, Any]:
    """Read a JSON object of objects.

    Args:
        file: which exists.
        parts: names of objects that it must have.

    Raises:
        ValueError: where the file is damaged: no JSON, no object, or without one of `parts`.
    """
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{file} is damaged: it is a {type(value).__name__}, expected an object")
    missing = [part for part in parts if not isinstance(value.get(part), dict)]
    if missing:
        raise ValueError(f"{file} is damaged: it has no object {', '.join(f'`{part}`' for part in missing)}")
    return value


def check_writable(folder: Path, argument: str) -> None:
    """Make a folder where there is none, and check that files can be written there.

    Args:
        folder: for results that are yet to be worked for.
        argument: the name of what the user chose it by.

    Raises:
        OSError: where it cannot be made, or takes no files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"the folder of `{argument}` (={str(folder)!r}) must be one that takes files: {error.strerror}"
        ) from error

"""The table of rooms in `docs/design.md`."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_PACKAGE = _ROOT / "advbg"
# What users import, and the built-in plugins, which are loaded when first asked.
_PUBLIC, _PLUGINS = "__init__.py", "tasks/"


def _rows() -> list[list[str]]:
    lines = (_ROOT / "docs" / "design.md").read_text(encoding="utf-8").splitlines()
    return [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in lines if re.match(r"\| `", line)]


def _rooms() -> set[str]:
    entries = [entry for entry in _PACKAGE.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()]
    return {entry.name + "/" * entry.is_dir() for entry in entries} - {_PUBLIC, "__main__.py"}


def _imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports at run time."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("advbg.") and id(node) not in for_types:
            name = (node.module or "").split(".")[1]
            yield f"{name}/" if (_PACKAGE / name).is_dir() else f"{name}.py"


def _files(room: Path) -> list[Path]:
    return sorted(room.rglob("*.py")) if room.is_dir() else [room]


def test_every_room_is_in_the_table_once() -> None:
    names = [name for row in _rows() for name in row]
    assert sorted(names) == sorted(_rooms())


@pytest.mark.parametrize("row", _rows(), ids=" ".join)
def test_a_room_imports_from_those_above_it_alone(row: list[str]) -> None:
    rows = _rows()
    above = {name for earlier in rows[: rows.index(row) + 1] for name in earlier}
    files = [file for name in row for file in _files(_PACKAGE / name)]
    allowed = above | {_PLUGINS} if "hooks.py" in row else above
    assert {room for file in files for room in _imported(file)} <= allowed

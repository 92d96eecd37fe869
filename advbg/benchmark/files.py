"""Text and JSON, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from advbg.files import write_atomically


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read."""
    write_text(path, json.dumps(value, indent=2) + "\n")

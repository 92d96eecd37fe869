"""What `advbg train` left in a folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FinishedRun:
    """A run to report on.

    Attributes:
        folder: of the run.
        results: what `results.json` holds.
        history: for each epoch its losses, accuracy, phase and seconds.
        figures: PNG files of composites over the training, in its order.
    """

    folder: Path
    results: dict[str, Any]
    history: list[dict[str, Any]]
    figures: tuple[Path, ...]

    @property
    def name(self) -> str:
        """What the page calls it: its method and its folder."""
        return f"{self.results['method']} ({self.folder.resolve().name})"


def read_run(folder: Path) -> FinishedRun:
    """Read a finished run.

    Args:
        folder: of the run.

    Raises:
        FileNotFoundError: where the folder is none, or holds no finished run.
        ValueError: where one of its files is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`run` (={str(folder)!r}) is not a folder")
    if not (folder / "results.json").is_file():
        raise FileNotFoundError(
            f"`run` (={str(folder)!r}) has no results.json: it is no finished run of `advbg train`, which goes on with "
            "--resume"
        )
    results = _read(folder / "results.json")
    missing = [name for name in ("sets", "classes", "method", "model", "phase_seconds") if name not in results]
    if missing:
        raise ValueError(f"{folder / 'results.json'} is not from `advbg train`: it has no {', '.join(missing)}")
    history = _read(folder / "history.json")
    figures = sorted((folder / "figures").glob("composites-epoch-*.png"), key=lambda file: int(file.stem[17:]))
    return FinishedRun(folder, results, history, tuple(figures))


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error

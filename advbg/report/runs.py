"""What `advbg train` left in a folder."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class FinishedRun:
    """A run to report on.

    Attributes:
        folder: of the run.
        results: what `results.json` holds.
        history: for each epoch its losses, accuracy, phase and seconds.
        split: the files that were trained on and held out, by their places in the folder of images.
        figures: PNG files of composites over the training, in its order.
        name: what the page calls it: its method and its folder.
    """

    folder: Path
    results: dict[str, Any]
    history: list[dict[str, Any]]
    split: dict[str, list[str]]
    figures: tuple[Path, ...]
    name: str


def read_runs(run: Path, against: Sequence[Path]) -> list[FinishedRun]:
    """Read finished runs, to be compared under names of their own.

    Args:
        run: folder of the first.
        against: folders of the others.

    Raises:
        FileNotFoundError: as for `read_run`.
        ValueError: likewise, or where a folder is given twice.
    """
    folders = [run, *against]
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ValueError(f"`against` (={', '.join(map(str, against))}) must be other runs than {str(run)!r}, each once")
    runs = [read_run(run, "run"), *(read_run(folder, "against") for folder in against)]
    names = [one.name for one in runs]
    return [
        replace(one, name=f"{one.results['method']} ({one.folder.resolve()})") if names.count(one.name) > 1 else one
        for one in runs
    ]


def read_run(folder: Path, argument: str = "run") -> FinishedRun:
    """Read a finished run.

    Args:
        folder: of the run.
        argument: what the command line calls it, for messages.

    Raises:
        FileNotFoundError: where the folder is none, or holds no finished run.
        ValueError: where one of its files is damaged.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"`{argument}` (={str(folder)!r}) is not a folder")
    if not (folder / "results.json").is_file():
        raise FileNotFoundError(
            f"`{argument}` (={str(folder)!r}) has no results.json: it is no finished run of `advbg train`, which goes "
            "on with --resume"
        )
    results = _read(folder / "results.json")
    missing = [
        name for name in ("sets", "classes", "method", "model", "settings", "phase_seconds") if name not in results
    ]
    if missing:
        raise ValueError(f"{folder / 'results.json'} is not from `advbg train`: it has no {', '.join(missing)}")
    history, split = _read(folder / "history.json"), _read(folder / "split.json")
    # Runs may have named the same folder by different paths, and been made elsewhere than the report.
    start = split.get("directory", "")
    images = Path(start, results["settings"]["folder"])
    split = {part: [_place(Path(start, file), images) for file in split[part]] for part in ("training", "held_out")}
    figures = sorted((folder / "figures").glob("composites-epoch-*.png"), key=lambda file: int(file.stem[17:]))
    name = f"{results['method']} ({folder.resolve().name})"
    return FinishedRun(folder, results, history, split, tuple(figures), name)


def _place(file: Path, folder: Path) -> str:
    """Its path from the folder; the whole one where both lie on different drives of Windows."""
    try:
        return os.path.relpath(file, folder)
    except ValueError:
        return str(file)


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, OSError) as error:
        raise ValueError(f"{file} is damaged: {error}") from error

"""What was published of a data set's seeds, some of which may have rows that others lack."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from advbg.benchmark.files import read_json
from advbg.benchmark.methods import METHODS

# What every `results.json` has.
RESULTS_PARTS = ("settings", "machine", "versions", "methods")
_PARTS = {"results.json": RESULTS_PARTS, "study.json": ("settings", "arms")}


def read_seeds(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read one JSON file of every seed under a data set's folder, in the order of the seeds.

    Args:
        folder: of the data set.
        name: `results.json` or `study.json`.

    Raises:
        ValueError: where a file is damaged.
    """
    files = sorted(folder.glob(f"seed-*/{name}"), key=lambda path: int(path.parent.name.rpartition("-")[2]))
    return [read_json(file, *_PARTS[name]) for file in files]


def methods_of(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Rows that any of the seeds has, in the order of `METHODS`.

    Args:
        runs: what `results.json` of each seed holds.
    """
    return [method for method in METHODS if runs_with(method, runs)]


def runs_with(method: str, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The seeds that have a row.

    Args:
        method: its name.
        runs: what `results.json` of each seed holds.
    """
    return [run for run in runs if method in run["methods"]]


def sensitivities(runs: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, float]]]:
    """Accuracy by noise rate, one curve for each seed, of every row that was measured so.

    Args:
        runs: what `results.json` of each seed holds.
    """
    measured = {method: [run["methods"][method] for run in runs_with(method, runs)] for method in methods_of(runs)}
    return {
        method: [row["sensitivity"] for row in rows]
        for method, rows in measured.items()
        if all("sensitivity" in row for row in rows)
    }

"""The page itself."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from advbg.benchmark.files import write_text
from advbg.naming import name_some
from advbg.report.comparison import differences, remarks
from advbg.report.pictures import embed, thumbnail, training_curves
from advbg.report.runs import FinishedRun
from advbg.training.sets import BEFORE, HELD_OUT

_FAILURES = 12
# With more classes, the matrix is a list of what is confused most.
_MOST_COLUMNS, _CONFUSED = 40, 30
_PHASES = {"plain": "training", "classifier": "classifier", "mask": "masks", "adversarial": "adversarial"}


def write_report(runs: list[FinishedRun], path: Path) -> None:
    """Write one HTML page about runs, with every picture inside of it.

    Args:
        runs: the first is reported on, the others are compared with it.
        path: of the page.

    Raises:
        ValueError: where runs have other classes, so that they cannot be compared.
    """
    for other in runs[1:]:
        if other.results["classes"] != runs[0].results["classes"]:
            raise ValueError(
                f"`against` (={str(other.folder)!r}) has the classes {', '.join(other.results['classes'])}, but "
                f"{str(runs[0].folder)!r} has {', '.join(runs[0].results['classes'])}"
            )
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("advbg.report").joinpath("page.html.jinja").read_text(encoding="utf-8"))
    # Names of files in other encodings, as archives from elsewhere leave them, are shown by their bytes.
    write_text(path, template.render(_content(runs)).encode("utf-8", "backslashreplace").decode("utf-8"))


def _content(runs: list[FinishedRun]) -> dict[str, Any]:
    run = runs[0]
    sets = list(dict.fromkeys(name for one in runs for name in one.results["sets"]))
    # Files show their own backgrounds, so mistakes before patterns have no pictures.
    shown = {name: rated for name, rated in run.results["sets"].items() if not name.startswith(BEFORE)}
    return {
        "run": run,
        "results": run.results,
        "compared": len(runs) > 1,
        "unreadable": name_some(run.results["images"]["unreadable"]),
        "remarks": remarks(runs),
        "differences": differences(runs),
        "names": [one.name for one in runs],
        "before": BEFORE,
        "accuracies": [_accuracy_row(name, runs) for name in sets],
        "classes": [_class_row(name, run) for name in run.results["classes"]],
        "sets": list(run.results["sets"]),
        "phases": [
            {"run": one.name, "phase": _PHASES.get(phase, phase), "seconds": seconds}
            for one in runs
            for phase, seconds in one.results["phase_seconds"].items()
        ],
        "curves": training_curves(runs),
        "moments": [{"name": _moment(figure), "picture": embed(figure)} for figure in run.figures],
        "failures": {name: _failures(rated, _fit(run, name)) for name, rated in shown.items()},
        **_confusions(shown, run.results["classes"]),
        "settings": json.dumps(run.results["settings"], indent=2, ensure_ascii=False),
        "versions": run.results["versions"],
        "machine": run.results["machine"],
    }


def _accuracy_row(name: str, runs: list[FinishedRun]) -> dict[str, Any]:
    return {"set": name, "cells": [{"run": run.name, "rated": run.results["sets"].get(name)} for run in runs]}


def _class_row(name: str, run: FinishedRun) -> dict[str, Any]:
    return {"class": name, "cells": [rated["per_class"][name] for rated in run.results["sets"].values()]}


def _fit(run: FinishedRun, name: str) -> str:
    """How images of a set were made square."""
    return run.results["settings"]["fit" if name == HELD_OUT else "test_fit"]


def _failures(rated: dict[str, Any], fit: str) -> list[dict[str, Any]]:
    return [
        failure | {"picture": thumbnail(Path(failure["file"]), fit), "name": Path(failure["file"]).name}
        for failure in rated["failures"][:_FAILURES]
    ]


def _confusions(shown: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """Of each set its matrix, or of many classes what is confused most."""
    matrices = {name: rated["confusion"] for name, rated in shown.items()}
    if len(classes) > _MOST_COLUMNS:
        return {"confusions": {}, "confused": {name: _most_confused(matrices[name], classes) for name in matrices}}
    return {"confusions": {name: _confusion(matrices[name]) for name in matrices}, "confused": {}}


def _most_confused(counts: list[list[int]], classes: list[str]) -> list[dict[str, Any]]:
    pairs = [
        {"truth": classes[truth], "predicted": classes[predicted], "count": count, "of": sum(row)}
        for truth, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and predicted != truth
    ]
    return sorted(pairs, key=lambda pair: -pair["count"])[:_CONFUSED]


def _confusion(counts: list[list[int]]) -> list[list[dict[str, Any]]]:
    """Cells with the share of their row, by which they are coloured."""
    return [[{"count": count, "share": count / max(1, sum(row))} for count in row] for row in counts]


def _moment(figure: Path) -> str:
    """`composites-epoch-03` as `epoch 3`."""
    return f"epoch {int(figure.stem.rpartition('-')[2])}"

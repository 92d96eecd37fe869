"""Run a demonstration over seeds, and write down what was measured."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from advbg.benchmark.demonstrations.figures import draw_scores
from advbg.benchmark.demonstrations.protocol import METHODS, Demonstration, finished_seeds
from advbg.benchmark.demonstrations.tables import markdown_table
from advbg.benchmark.environment import environment
from advbg.benchmark.files import write_json, write_text
from advbg.benchmark.progress import Report
from advbg.benchmark.run_folder import begin_folder, measured_before, open_folder

EXAMPLES, SCORES = "examples.png", "scores.png"


def open_demonstration(output: Path, demonstration: Demonstration, *, resume: bool) -> None:
    """Make the folder of a new run, or check that of one that goes on.

    Args:
        output: the folder.
        demonstration: what is to be run.
        resume: whether to go on with what is there.

    Raises:
        FileExistsError: where `output` has files and `resume` is off, or is not a folder.
        ValueError: where the run in `output` had other settings, which the message names, or is damaged.
    """
    settings = {"task": demonstration.name, **demonstration.settings()}
    ours = open_folder(output, settings, resume=resume)
    measured_before(output, "seeds")
    begin_folder(output, ours)


def run_demonstration(
    demonstration: Demonstration, seeds: Sequence[int], output: Path, report: Report
) -> dict[str, Any]:
    """Train and test both rows for every seed, but those that are done.

    Args:
        demonstration: what to run.
        seeds: of the trainings.
        output: the folder that `open_demonstration` opened; it gets `results.json`, `results.md` and figures.
        report: called after every step.

    Returns:
        What `results.json` holds.
    """
    results: dict[str, Any] = {
        "task": demonstration.name,
        "measure": demonstration.measure,
        "higher_is_better": demonstration.higher_is_better,
        "description": demonstration.description,
        "settings": demonstration.settings(),
        **environment(),
        "seeds": measured_before(output, "seeds"),
    }
    for seed in seeds:
        row = results["seeds"].setdefault(str(seed), {})
        for method in METHODS:
            if method not in row:
                state_file = _state_file(output, seed, method)
                state_file.parent.mkdir(parents=True, exist_ok=True)
                show: Callable[..., None] = partial(report, run=f"{demonstration.name} {seed}")
                row[method] = demonstration.train_and_test(method, seed, state_file, show)
                write_json(output / "results.json", results)
    results["summary"] = summarise(results)
    write_json(output / "results.json", results)
    write_text(output / "results.md", markdown_table(results))
    draw_scores(results, output / SCORES)
    first = seeds[0]
    state_files = {method: _state_file(output, first, method) for method in METHODS}
    demonstration.draw(first, state_files, output / EXAMPLES)
    return results


def summarise(results: dict[str, Any]) -> dict[str, Any]:
    """Means and standard deviations over finished seeds, and what of the clean score is kept before other backgrounds.

    Args:
        results: of all seeds, as `results.json` holds them.

    Returns:
        For each method `clean`, `changed` and `ratio` (changed over clean, seed by seed), each [mean, deviation]. The
        ratio is 0 where nothing was learned, the deviation of one seed is 0.
    """
    summary = {}
    for method in METHODS:
        rows = [row[method] for row in finished_seeds(results).values()]
        clean = [row["clean"] for row in rows]
        changed = [statistics.fmean(row["changed"].values()) for row in rows]
        ratio = [after / before if before else 0.0 for after, before in zip(changed, clean, strict=True)]
        summary[method] = {
            name: [statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0]
            for name, values in (("clean", clean), ("changed", changed), ("ratio", ratio))
        } | {"seconds": statistics.fmean(row["seconds"] for row in rows)}
    return summary


def _state_file(output: Path, seed: int, method: str) -> Path:
    return output / f"seed-{seed}" / f"{method}.pt"

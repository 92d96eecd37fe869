"""Tables over seeds, made from the published results alone."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from advbg.benchmark.campaign import AUGMENTED
from advbg.benchmark.cost_table import cost_page
from advbg.benchmark.environment import machines
from advbg.benchmark.files import read_json, write_text
from advbg.benchmark.paper_results import COLUMNS, paper_results
from advbg.benchmark.seeds import methods_of, read_seeds, runs_with, sensitivities
from advbg.benchmark.study_arms import ARMS
from advbg.benchmark.summary_figures import draw_accuracy, draw_sensitivity, draw_study
from advbg.benchmark.tables import markdown_table_of, mean_of_six

_PHASES = ("plain", "classifier", "mask", "adversarial")
_TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "digits": "Digits"}
_COMMAND = "advbg tables"
_STUDY_NOTE = (
    f"Made by `{_COMMAND}` from `study.json` of each seed. Accuracy in percent, of several seeds the mean "
    "± standard deviation. `six`: the mean over the paper's six backgrounds. `mean` and `all`: over the "
    "30 backgrounds to choose by and the 30 to report; `all` is the share of images right before every "
    "one of them. `above random`: the difference of `report: mean` to that of `random` with the same "
    "seed, of several seeds ± its standard error."
)


_CAVEATS = (
    "None trains on the six backgrounds, but two of the eight generators of `random` and `proposal` make straight "
    "lines since these were worst in our first tables; [the study](../study.md) has thirty backgrounds that were "
    "not looked at. `paper` was measured while its masks were learned by the outputs for whole images; the paper takes "
    "the labels, as the command does now. `attention` is AG-CNN within the same steps: its global branch is trained in "
    "the classifier and mask phase only, which are the first part of one cycle of the learning rate, and fixed then."
)


def write_summary(published: Path) -> list[Path]:
    """Make the pages and figures from the results in a folder; nothing in them is typed by hand.

    Args:
        published: folder with a folder for each data set.

    Returns:
        The files written.

    Raises:
        ValueError: where a file of results is damaged.
    """
    pages = []
    studies: dict[str, list[dict[str, Any]]] = {}
    for folder in sorted(path for path in published.iterdir() if path.is_dir()):
        runs = read_seeds(folder, "results.json")
        if not runs or folder.name.endswith(AUGMENTED):
            continue
        augmented = read_seeds(published / f"{folder.name}{AUGMENTED}", "results.json")
        pages.append(_write(folder / "index.md", dataset_page(folder.name, runs, augmented)))
        draw_accuracy(runs, folder / "accuracy.png")
        draw_sensitivity(runs, folder / "sensitivity.png")
        studies[folder.name] = [study for study in read_seeds(folder, "study.json") if _is_complete(study)]
    costs = [read_json(file, "settings", "machine", "steps") for file in sorted((published / "cost").glob("*.json"))]
    if costs:
        pages.append(_write(published / "cost" / "index.md", cost_page(costs)))
    studies = {name: seeds for name, seeds in studies.items() if seeds}
    if studies:
        pages.append(_write(published / "study-tables.md", study_tables(studies)))
        draw_study(studies, published / "study.png")
    return pages


def _is_complete(study: dict[str, Any]) -> bool:
    return all(arm in study["arms"] for arm in study["settings"]["arms"])


def dataset_page(name: str, runs: Sequence[dict[str, Any]], augmented: Sequence[dict[str, Any]]) -> str:
    """Write the page of a data set.

    Args:
        name: of the data set.
        runs: what `results.json` of each seed holds.
        augmented: the same with the paper's augmentation; may be empty.
    """
    title = _TITLES.get(name, name)
    sections = [f"# {title}", _provenance(runs), _accuracy_section(name, runs), _cost_section(runs)]
    sections.append(_mask_section(runs))
    if augmented:
        sections.append(_augmentation_section(runs, augmented))
    sections.append(_sensitivity_section(runs))
    sections.append("## Backgrounds over training\n\n![Backgrounds of the proposal](backgrounds.png)\n")
    sections.append("## Masks and composites\n\n![Images, masks, composites](composites.png)\n")
    return "\n\n".join(section.strip() for section in sections if section)


def study_tables(studies: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Write the tables of the study of the adversary.

    Args:
        studies: what `study.json` of each seed holds, by data set.
    """
    sections = ["# The study's tables", _STUDY_NOTE]
    for name, seeds in studies.items():
        settings = seeds[0]["settings"]
        head = ("", "steps", "six", "choose: mean", "choose: all", "report: mean", "report: all", "above random")
        rows = [_study_row(arm, seeds) for arm in settings["arms"]]
        sections += [
            f"## {_TITLES.get(name, name)}",
            f"Of {_seeds(seeds)}; each was trained for {settings['seconds']:g} seconds.",
            markdown_table_of(head, rows),
        ]
    described = [(f"`{name}`", arm.description) for name, arm in ARMS.items()]
    return "\n\n".join([*sections, "## What they are", markdown_table_of(("", ""), described)])


def _study_row(arm: str, seeds: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    arms = [seed["arms"][arm] for seed in seeds]
    above = [seed["arms"][arm]["report"]["mean"] - seed["arms"]["random"]["report"]["mean"] for seed in seeds]
    error = statistics.stdev(above) / math.sqrt(len(above)) if len(above) > 1 else math.nan
    cells = [spread(mean_of_six(each["accuracy"]) for each in arms)]
    for part in ("choose", "report"):
        cells += [spread(each[part][kind] for each in arms) for kind in ("mean", "all")]
    steps = f"{statistics.mean(each['steps'] for each in arms):.0f}"
    difference = f"{statistics.mean(above):+.2f}" + (f" ± {error:.2f}" if len(above) > 1 else "")
    return (f"`{arm}`", steps, *cells, difference if arm != "random" else "")


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Write mean ± standard deviation; the mean alone of a single value."""
    values = list(values)
    mean = f"{statistics.mean(values):.{digits}f}"
    return f"{mean} ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else mean


def _provenance(runs: Sequence[dict[str, Any]]) -> str:
    run, settings = runs[0], runs[0]["settings"]
    measured = [(row, run) for run in runs for row in run["methods"].values()]
    epochs = " + ".join(str(count) for count in settings["epochs"])
    return (
        f"Made by `{_COMMAND}` from `seed-*/results.json`: {run['train_size']} training images, {_seeds(runs)}, "
        f"{epochs} epochs of the classifier, mask and adversarial phase (every row takes as many steps), batches of "
        f"{settings['batch_size']}, {settings['precision']}; {machines(measured)}, "
        f"torch {_versions('torch', measured)}, Python {_versions('python', measured)}.\n"
    )


def _versions(package: str, measured: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    found = {row.get("versions", run["versions"])[package] for row, run in measured}
    return " and ".join(sorted(found))


def _accuracy_section(name: str, runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for method in methods_of(runs):
        accuracies = [run["methods"][method]["accuracy"] for run in runs_with(method, runs)]
        rows.append((method, *_accuracy_cells(accuracies), str(len(accuracies))))
    rows += [(f"*paper: {method}*", *_accuracy_cells([row]), "") for method, row in paper_results(name).items()]
    table = markdown_table_of(("", *COLUMNS, "mean of six", "seeds"), rows)
    note = f"In percent; of several seeds the mean ± standard deviation.\n\n{_CAVEATS}"
    return f"## Accuracy\n\n{note}\n\n{table}\n\n![Accuracy](accuracy.png)"


def _accuracy_cells(accuracies: Sequence[dict[str, float]]) -> tuple[str, ...]:
    cells = [spread(accuracy[column] for accuracy in accuracies) for column in COLUMNS]
    return (*cells, spread(mean_of_six(accuracy) for accuracy in accuracies))


def _cost_section(runs: Sequence[dict[str, Any]]) -> str:
    rows = [
        _cost_row(method, comparable) for method in methods_of(runs) if (comparable := _beside_baseline(method, runs))
    ]
    if not rows:
        return ""
    table = markdown_table_of(("", *_PHASES, "total", "times the baseline", "seeds"), rows)
    note = "Seconds of training, mean of the seeds whose row and baseline were measured on one machine."
    return f"## Cost\n\n{note}\n\n{table}\n"


def _cost_row(method: str, runs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    rows = [run["methods"][method] for run in runs]
    phases = [statistics.mean(row["phase_seconds"].get(phase, 0.0) for row in rows) for phase in _PHASES]
    total = statistics.mean(row["seconds"] for row in rows)
    times = total / statistics.mean(run["methods"]["baseline"]["seconds"] for run in runs)
    seconds = (f"{value:.0f}" if value else "" for value in phases)
    return (method, *seconds, f"{total:.0f}", f"{times:.2f}", str(len(runs)))


def _beside_baseline(method: str, runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Runs whose row was measured where their baseline was: seconds of different machines do not compare."""

    def machine(run: dict[str, Any], row: str) -> Any:
        return run["methods"][row].get("machine", run["machine"])

    both = [run for run in runs_with(method, runs) if "baseline" in run["methods"]]
    return [run for run in both if machine(run, method) == machine(run, "baseline")]


def _mask_section(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for label, method in (("default", "proposal"), ("the paper's", "paper")):
        masks = [run["methods"][method]["mask"] for run in runs_with(method, runs)]
        if masks:
            rows.append((label, *(spread((mask[key] for mask in masks), 3) for key in ("iou", "recall", "area"))))
    table = markdown_table_of(("mask", "IoU", "recall", "area"), rows)
    return f"## Masks\n\nAgainst the silhouette (`x > 0`, holes filled) of the test images.\n\n{table}\n"


def _augmentation_section(runs: Sequence[dict[str, Any]], augmented: Sequence[dict[str, Any]]) -> str:
    rows = []
    for method in methods_of(augmented):
        for label, kind in (("off", runs), ("on", augmented)):
            accuracies = [run["methods"][method]["accuracy"] for run in runs_with(method, kind)]
            if accuracies:
                rows.append((method, label, *_accuracy_cells(accuracies), str(len(accuracies))))
    table = markdown_table_of(("", "augmentation", *COLUMNS, "mean of six", "seeds"), rows)
    return f"## With the paper's augmentation\n\n{table}\n"


def _sensitivity_section(runs: Sequence[dict[str, Any]]) -> str:
    curves = sensitivities(runs)
    if not curves:
        return ""
    rates = next(iter(curves.values()))[0]
    rows = [(rate, *(spread(curve[rate] for curve in seeds) for seeds in curves.values())) for rate in rates]
    table = markdown_table_of(("noise rate", *curves), rows)
    return f"## Sensitivity to noise\n\n{table}\n\n![Accuracy against the noise rate](sensitivity.png)\n"


def _seeds(runs: Sequence[dict[str, Any]]) -> str:
    return f"{len(runs)} seeds" if len(runs) > 1 else "one seed"


def _write(path: Path, text: str) -> Path:
    write_text(path, text.rstrip() + "\n")
    return path

"""Figures over seeds, as PNG."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advbg.benchmark.figures import METHOD_COLORS, save_figure
from advbg.benchmark.paper_results import COLUMNS, paper_results
from advbg.benchmark.seeds import methods_of, runs_with, sensitivities

_CHANCE = 10.0


def draw_accuracy(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the mean accuracy of every row in every column, its standard deviation, and the paper's proposal.

    Args:
        runs: what `results.json` of each seed holds.
        path: of the PNG.
    """
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    axes = figure.add_subplot()
    methods = methods_of(runs)
    width = 0.86 / len(methods)
    groups = np.arange(len(COLUMNS))
    for index, method in enumerate(methods):
        places = groups + (index - (len(methods) - 1) / 2) * width
        accuracies = [run["methods"][method]["accuracy"] for run in runs_with(method, runs)]
        values = [[accuracy[column] for column in COLUMNS] for accuracy in accuracies]
        axes.bar(
            places, np.mean(values, axis=0), 0.92 * width, label=method, color=METHOD_COLORS.get(method, f"C{index}")
        )
        if len(values) > 1:
            axes.errorbar(
                places, np.mean(values, axis=0), np.std(values, axis=0, ddof=1), fmt="none", ecolor="black", lw=0.7
            )
        if method == "proposal":
            paper = [paper_results(runs[0]["dataset"])["proposal"][column] for column in COLUMNS]
            ends = np.array([places - 0.6 * width, places + 0.6 * width])
            lines = axes.plot(ends, np.array([paper, paper]), color="black", linewidth=2, solid_capstyle="butt")
            lines[0].set_label("the paper's proposal")
    axes.axhline(_CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.set_xticks(groups, COLUMNS)
    axes.set_ylim(0, 100)
    _finish(axes, "accuracy (%)")
    axes.legend(frameon=False, fontsize=8, ncols=9, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save_figure(figure, path)


def draw_sensitivity(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw accuracy against the noise rate, the band one standard deviation wide to each side.

    Args:
        runs: what `results.json` of each seed holds.
        path: of the PNG.
    """
    figure = Figure(figsize=(6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for method, curves in sensitivities(runs).items():
        rates = [float(rate) for rate in curves[0]]
        values = np.array([list(curve.values()) for curve in curves])
        mean, deviation = values.mean(axis=0), values.std(axis=0, ddof=min(1, len(values) - 1))
        color = METHOD_COLORS.get(method)
        axes.plot(rates, mean, marker=".", label=method, color=color)
        axes.fill_between(rates, mean - deviation, mean + deviation, alpha=0.2, color=color, linewidth=0)
    axes.set_xlabel("share of white pixels in the background")
    axes.set_ylim(0, 100)
    _finish(axes, "accuracy (%)")
    axes.legend(frameon=False)
    save_figure(figure, path)


def draw_study(studies: Mapping[str, Sequence[dict[str, Any]]], path: Path) -> None:
    """Draw each arm's accuracy before the backgrounds to report, and before all of them at once.

    Args:
        studies: what `study.json` of each seed holds, by data set.
        path: of the PNG.
    """
    figure = Figure(figsize=(5.2 * len(studies), 3.8), layout="constrained")
    for axes, (name, seeds) in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies.items(), strict=True):
        arms = seeds[0]["settings"]["arms"]
        places = np.arange(len(arms))[::-1]
        for kind, color, label in (("mean", "#30638e", "mean of 30"), ("all", "#d1495b", "right before all 30")):
            values = [[seed["arms"][arm]["report"][kind] for seed in seeds] for arm in arms]
            means = [statistics.mean(value) for value in values]
            spreads = [statistics.stdev(value) if len(value) > 1 else 0.0 for value in values]
            axes.errorbar(means, places, xerr=spreads, fmt="o", color=color, label=label, markersize=4)
        axes.set_yticks(places, arms)
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("accuracy before held-out backgrounds (%)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", linewidth=0.4)
        axes.legend(frameon=False, fontsize=8)
    save_figure(figure, path)


def _finish(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)

"""The figure of a case study, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from advbg.benchmark.case_study.rows import ROWS
from advbg.benchmark.figures import METHOD_COLORS, save_figure


def rows_of(results: dict[str, Any]) -> list[str]:
    """Names of the rows that a seed has, in the tables' order.

    Args:
        results: what `results.json` holds.
    """
    return [row for row in ROWS if any(row in seed for seed in results["seeds"].values())]


def draw_columns(results: dict[str, Any], path: Path) -> None:
    """Draw the accuracy of every row in every column, with standard deviations over seeds.

    Args:
        results: what `results.json` holds.
        path: of the PNG.
    """
    seeds, columns = list(results["seeds"].values()), list(results["images"])[1:]
    rows = rows_of(results)
    width = 0.84 / len(rows)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for index, row in enumerate(rows):
        measured = [seed[row]["accuracy"] for seed in seeds if row in seed]
        values = np.array([[accuracy[column] for column in columns] for accuracy in measured])
        axes.bar(
            np.arange(len(columns)) + (index - (len(rows) - 1) / 2) * width,
            values.mean(axis=0),
            0.92 * width,
            yerr=values.std(axis=0, ddof=1) if len(values) > 1 else None,
            error_kw={"elinewidth": 0.8},
            label=row,
            color=METHOD_COLORS.get(row, "#3d3d3d"),
        )
    axes.set_xticks(np.arange(len(columns)), columns)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save_figure(figure, path)

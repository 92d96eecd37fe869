"""Figures of demonstrations, as PNG."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from advbg.benchmark.demonstrations.protocol import finished_seeds
from advbg.benchmark.figures import METHOD_COLORS, save_figure

_BAR_WIDTH = 0.38


def draw_scores(results: dict[str, Any], path: Path) -> None:
    """Draw both rows before the background of the training and before each kind of other ones.

    Args:
        results: what `results.json` holds, with its summary.
        path: of the PNG.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.add_subplot()
    kinds = _kinds(results)
    for place, method in enumerate(results["summary"]):
        scores = np.array(
            [
                [
                    np.mean([(row[method]["changed"] | {"own": row[method]["clean"]})[name] for name in names])
                    for names in kinds.values()
                ]
                for row in finished_seeds(results).values()
            ]
        )
        axes.bar(
            np.arange(len(kinds)) + (place - 0.5) * _BAR_WIDTH,
            scores.mean(axis=0),
            0.92 * _BAR_WIDTH,
            yerr=scores.std(axis=0, ddof=1) if len(scores) > 1 else None,
            error_kw={"elinewidth": 0.8},
            label=method,
            color=METHOD_COLORS[method],
        )
    axes.set_xticks(np.arange(len(kinds)), list(kinds), fontsize=8)
    axes.set_ylabel(results["measure"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save_figure(figure, path)


def draw_label_maps(
    images: Float[Tensor, "count channel height width"],
    rows: dict[str, Int[Tensor, "count height width"]],
    classes: int,
    path: Path,
) -> None:
    """Draw images over label maps of them.

    Args:
        images: pixels in [0, 1].
        rows: label maps by the name of the row; label 0 is drawn black.
        classes: how many labels there are.
        path: of the PNG.
    """
    palette = torch.tensor(mpl.colormaps["tab20"](np.arange(classes) % 20)[:, :3], dtype=torch.float32)
    palette[0] = 0
    pictures = {"image": images.expand(-1, 3, -1, -1)}
    pictures |= {name: palette[labels].permute(0, 3, 1, 2) for name, labels in rows.items()}
    figure = Figure(figsize=(1.2 + 0.9 * len(images), 0.95 * len(pictures)), layout="constrained")
    for axes_of_row, (name, row) in zip(figure.subplots(len(pictures), len(images)), pictures.items(), strict=True):
        for axes, picture in zip(axes_of_row, row, strict=True):
            _show(axes, picture)
        axes_of_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    save_figure(figure, path)


def draw_angles(
    images: Float[Tensor, "count channel height width"], rows: dict[str, Float[Tensor, "count"]], path: Path
) -> None:
    """Draw images with the angles by which they are turned, said by several.

    Args:
        images: pixels in [0, 1].
        rows: degrees by the name of who says them.
        path: of the PNG.
    """
    figure = Figure(figsize=(1.2 + 0.95 * len(images), 1.9), layout="constrained")
    for index, (axes, picture) in enumerate(zip(figure.subplots(1, len(images)), images, strict=True)):
        _show(axes, picture.expand(3, -1, -1))
        said = "\n".join(
            (f"{name} " if index == 0 else "") + f"{degrees[index].item():+.0f}°" for name, degrees in rows.items()
        )
        axes.set_xlabel(said, fontsize=8, ha="right" if index == 0 else "center", x=1.0 if index == 0 else 0.5)
    save_figure(figure, path)


def _kinds(results: dict[str, Any]) -> dict[str, list[str]]:
    """Names of backgrounds under what is drawn of them: made ones, such as `text-3`, by their kind."""
    kinds = {"own": ["own"]}
    for name in next(iter(finished_seeds(results).values()))["baseline"]["changed"]:
        kinds.setdefault(name.split("-")[0], []).append(name)
    return kinds


def _show(axes: Axes, picture: Tensor) -> None:
    axes.imshow(picture.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])

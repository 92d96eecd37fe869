"""Figures of a run, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from advbg.benchmark.paper_results import COLUMNS, paper_dataset
from advbg.files import write_atomically

_RESOLUTION = 150
METHOD_COLORS = {
    "baseline": "#9aa5b1",
    "black": "#30638e",
    "noise": "#00798c",
    "random": "#edae49",
    "attention": "#5c6b73",
    "photographs": "#7a9e3f",
    "paper": "#6a4c93",
    "proposal": "#d1495b",
}
_FRAME = 0.75
_CHANCE = 10.0


def accuracy_bars(results: dict[str, Any], path: Path) -> None:
    """Draw the accuracy of every method in every column, and the paper's proposal as ticks.

    Args:
        results: what `results.json` holds.
        path: of the PNG.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    draw_accuracy_bars(figure.add_subplot(), results)
    save_figure(figure, path)


def draw_accuracy_bars(axes: Axes, results: dict[str, Any]) -> None:
    """Draw the bars of `accuracy_bars` into axes."""
    methods = results["methods"]
    width = 0.8 / len(methods)
    groups = np.arange(len(COLUMNS))
    offsets = {name: (index - (len(methods) - 1) / 2) * width for index, name in enumerate(methods)}
    for index, (name, method) in enumerate(methods.items()):
        heights = [method["accuracy"][column] for column in COLUMNS]
        axes.bar(groups + offsets[name], heights, 0.92 * width, label=name, color=METHOD_COLORS.get(name, f"C{index}"))
    ticks = groups + offsets.get("proposal", 0.0)
    paper = [results["paper"]["proposal"][column] for column in COLUMNS]
    ends = [ticks - 0.6 * width, ticks + 0.6 * width]
    lines = axes.plot(ends, [paper, paper], color="black", linewidth=2, solid_capstyle="butt")
    lines[0].set_label(f"the paper's proposal ({paper_dataset(results['dataset'])})")
    axes.axhline(_CHANCE, color="black", linewidth=0.8, linestyle=":")
    axes.text(1.005, _CHANCE, "chance", va="center", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_xticks(groups, COLUMNS)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))


def composite_rows(
    images: Float[Tensor, "count channel height width"],
    masks: Float[Tensor, "count 1 height width"],
    composites: Float[Tensor, "count channel height width"],
    path: Path,
    *,
    binarized_masks: Float[Tensor, "count 1 height width"],
) -> None:
    """Draw images over their masks, binarised masks and composites.

    Args:
        images: pixels in [0, 1].
        masks: the mask generator's output in [0, 1].
        composites: pixels in [0, 1].
        path: of the PNG.
        binarized_masks: zeros and ones.
    """
    rows = [("image", images), ("mask", masks), ("binarised", binarized_masks), ("composite", composites)]
    save_figure(labelled_rows(rows), path)


def backgrounds_over_training(
    snapshots: list[tuple[int, Float[Tensor, "count channel height width"]]], path: Path
) -> None:
    """Draw the source's backgrounds at moments of the training.

    Args:
        snapshots: (optimiser step, pixels in [0, 1]).
        path: of the PNG.
    """
    save_figure(labelled_rows([(f"step {step}", backgrounds) for step, backgrounds in snapshots]), path)


def overview(
    images: Float[Tensor, "count channel height width"],
    composites: Float[Tensor, "count channel height width"],
    results: dict[str, Any],
    path: Path,
) -> None:
    """Draw what the method does beside what it brings: the README's picture.

    Args:
        images: pixels in [0, 1]; the first eight are shown.
        composites: what the classifier is trained on, in the order of `images`.
        results: what `results.json` holds; baseline and proposal are shown where they are there, else every method.
        path: of the PNG.
    """
    methods = results["methods"]
    shown = {name: methods[name] for name in ("baseline", "proposal") if name in methods} or methods
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 2.3), squeeze=False)[0]
    titles = ("images", "the same before other backgrounds")
    for axes, title, pictures in zip(left.subplots(2, 1), titles, (images, composites), strict=True):
        axes.imshow(_grid(pictures[:8], columns=4), interpolation="nearest")
        axes.set_title(title, fontsize=10)
        axes.axis("off")
    draw_accuracy_bars(right.add_subplot(), {**results, "methods": shown})
    save_figure(figure, path)


def labelled_rows(rows: list[tuple[str, Tensor]]) -> Figure:
    """Make a figure of rows of images in [0, 1], as many in each, with a label beside each row."""
    figure = Figure(figsize=(1.1 + 0.72 * len(rows[0][1]), 0.78 * len(rows)), layout="constrained")
    for axes, (label, images) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows, strict=True):
        axes.imshow(_grid(images, columns=len(images)), interpolation="nearest")
        axes.set_ylabel(label, rotation=0, ha="right", va="center")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return figure


def _grid(images: Tensor, columns: int) -> np.ndarray:
    """One picture of all, in thin grey frames that tell white images from the white page."""
    # Compositing in a normalised space leaves values a rounding error outside [0, 1], of which matplotlib would warn.
    colors = images.detach().cpu().float().clamp(0, 1).expand(-1, 3, -1, -1)
    return make_grid(colors, nrow=columns, padding=1, pad_value=_FRAME).permute(1, 2, 0).numpy()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=_RESOLUTION, facecolor="white", bbox_inches="tight")

"""Figures of a run, as PNG."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from torch import Tensor
from torchvision.utils import make_grid

from advbg.benchmark.files import write_atomically
from advbg.benchmark.paper_results import COLUMNS, paper_dataset

_RESOLUTION = 150
_COLORS = {"baseline": "#9aa5b1", "proposal": "#d1495b"}
_OTHER_COLORS = ("#edae49", "#00798c", "#30638e", "#6a4c93", "#8d6a4f", "#4f772d")
_CHANCE = 10.0


def accuracy_bars(results: dict[str, Any], path: Path) -> None:
    """Draw the accuracy of every method in every column, and the paper's proposal as ticks.

    Args:
        results: what `results.json` holds.
        path: of the PNG.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    draw_accuracy_bars(figure.add_subplot(), results)
    _save(figure, path)


def draw_accuracy_bars(axes: Axes, results: dict[str, Any]) -> None:
    """Draw the bars of `accuracy_bars` into axes."""
    methods = results["methods"]
    width = 0.8 / len(methods)
    others = iter(_OTHER_COLORS * len(methods))
    for index, (name, method) in enumerate(methods.items()):
        places = [column + (index - (len(methods) - 1) / 2) * width for column in range(len(COLUMNS))]
        heights = [method["accuracy"][column] for column in COLUMNS]
        axes.bar(places, heights, 0.92 * width, label=name, color=_COLORS.get(name) or next(others))
    for column, name in enumerate(COLUMNS):
        height = results["paper"]["proposal"][name]
        label = f"the paper's proposal ({paper_dataset(results['dataset'])})" if column == 0 else None
        axes.plot([column - 0.42, column + 0.42], [height, height], color="black", linewidth=1.2, label=label)
    axes.axhline(_CHANCE, color="black", linewidth=0.6, linestyle=":")
    axes.text(len(COLUMNS) - 0.52, _CHANCE + 1, "chance", ha="right", fontsize=7)
    axes.set_xticks(range(len(COLUMNS)), COLUMNS)
    axes.set_ylim(0, 100)
    axes.set_ylabel("accuracy (%)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


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
    rows = {"image": images, "mask": masks, "binarised": binarized_masks, "composite": composites}
    figure = Figure(figsize=(1.1 + 0.72 * len(images), 0.8 * len(rows)), layout="constrained")
    for axes, (label, row) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items(), strict=True):
        _draw_row(axes, label, row)
    _save(figure, path)


def backgrounds_over_training(
    snapshots: list[tuple[int, Float[Tensor, "count channel height width"]]], path: Path
) -> None:
    """Draw the source's backgrounds at moments of the training.

    Args:
        snapshots: (optimiser step, pixels in [0, 1]).
        path: of the PNG.
    """
    figure = Figure(figsize=(1.1 + 0.72 * len(snapshots[0][1]), 0.8 * len(snapshots)), layout="constrained")
    for axes, (step, row) in zip(figure.subplots(len(snapshots), 1, squeeze=False)[:, 0], snapshots, strict=True):
        _draw_row(axes, f"step {step}", row)
    _save(figure, path)


def overview(
    images: Float[Tensor, "count channel height width"],
    composites: Float[Tensor, "count channel height width"],
    results: dict[str, Any],
    path: Path,
) -> None:
    """Draw what the method does beside what it brings: the README's picture.

    Args:
        images: pixels in [0, 1].
        composites: what the classifier is trained on.
        results: what `results.json` holds.
        path: of the PNG.
    """
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    parts = figure.subfigures(1, 2, width_ratios=(1, 2.3), squeeze=False)[0]
    _draw_pairs(parts[0], images[:8], composites[:8])
    draw_accuracy_bars(parts[1].add_subplot(), results)
    _save(figure, path)


def _draw_pairs(figure: SubFigure, images: Tensor, composites: Tensor) -> None:
    titles = ("images from the studio", "what the model also trains on")
    for axes, title, pictures in zip(figure.subplots(2, 1), titles, (images, composites), strict=True):
        axes.imshow(_grid(pictures, 4), vmin=0, vmax=1)
        axes.set_title(title, fontsize=9)
        axes.axis("off")


def _draw_row(axes: Axes, label: str, row: Tensor) -> None:
    axes.imshow(_grid(row, len(row)), vmin=0, vmax=1)
    axes.set_ylabel(label, rotation=0, ha="right", va="center")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _grid(images: Tensor, columns: int) -> Any:
    """One picture of all, on white."""
    colors = images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)
    return make_grid(colors.detach().cpu().float(), nrow=columns, padding=2, pad_value=1.0).permute(1, 2, 0).numpy()


def _save(figure: Figure, path: Path) -> None:
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=_RESOLUTION, facecolor="white")

"""Pictures inside of a page: nothing else has to be sent along."""

import base64
import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torchvision.transforms.v2.functional import to_pil_image

from advbg.report.runs import FinishedRun
from advbg.training.squares import read_square

_THUMBNAIL = 128
_PHASE_COLORS = {"classifier": "#9aa5b1", "mask": "#edae49", "adversarial": "#d1495b", "plain": "#9aa5b1"}


def embed(file: Path) -> str:
    """A PNG as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def thumbnail(file: Path, fit: str) -> str | None:
    """An image as the model has seen it, but for its size, as a data URL; None where the file cannot be read any more.

    Args:
        file: of the image.
        fit: how it was made square.
    """
    try:
        square = read_square(file, _THUMBNAIL, fit)
    except ValueError:
        return None
    buffer = io.BytesIO()
    to_pil_image(square).save(buffer, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def training_curves(runs: list[FinishedRun]) -> str:
    """Loss and held-out accuracy over epochs as SVG, the first run's phases as bands."""
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    losses, accuracies = figure.subplots(1, 2)
    for index, run in enumerate(runs):
        name_of_run = run.name.replace("$", r"\$")  # which else begins a formula
        epochs = range(1, len(run.history) + 1)
        for axes, name in ((losses, "loss"), (accuracies, "held_out_accuracy")):
            axes.plot(epochs, [epoch[name] for epoch in run.history], marker="o", color=f"C{index}", label=name_of_run)
    for axes, label in ((losses, "training loss"), (accuracies, "held-out accuracy (%)")):
        _shade_phases(axes, runs[0].history)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    if len(runs) > 1:
        losses.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _shade_phases(axes: Any, history: list[dict[str, Any]]) -> None:
    for number, epoch in enumerate(history, start=1):
        # Older runs do not say how many steps each phase had.
        steps = epoch.get("steps") or dict.fromkeys(epoch["phases"], 1)
        start = number - 0.5
        for phase, count in steps.items():
            end = start + count / sum(steps.values())
            axes.axvspan(start, end, color=_PHASE_COLORS[phase], alpha=0.12, linewidth=0)
            start = end


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]

"""A run of `advbg train`: folders in, a folder with weights, results and figures out."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from advbg.benchmark.files import read_json, write_json
from advbg.benchmark.training import Progress
from advbg.integrations.tensorboard import TensorBoardLogger
from advbg.training.fit import Fitted, fit
from advbg.training.prepare import PreparedRun
from advbg.training.results import draw_composites, measure_run, save_run
from advbg.training.state import steps_taken

# Epochs after which composites are drawn.
_MOMENTS = 5

# Of the files of a run.
_PARTS = {
    "training": "the training folder has",
    "held_out": "what is held out has",
    "photographs": "the photographs are",
}


def train_folder(
    run: PreparedRun,
    output: Path,
    report: Callable[[Progress], None],
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train and test in a folder that `begin_folder` made.

    Args:
        run: from `prepare`.
        output: the folder; it gets `results.json`, `history.json`, `split.json`, `model.safetensors` (last epoch),
            `best.safetensors`, `companions.pt` for a method with companions, and figures.
        report: called after every step.
        tell: called after every epoch, with a line about it.

    Returns:
        What `results.json` holds.

    Raises:
        DamagedStateError: where the state in the folder is damaged or of another training.
        ValueError: where files of the training folder, or photographs, are others than when the run began.
    """
    loaded = {"training": run.training, "held_out": run.held_out}
    images = {part: [str(file) for file in found.files] for part, found in loaded.items()}
    _check_split(output / "split.json", images | {"photographs": run.photographs})
    data = run.data
    # Where a run goes on, what was logged after its last whole epoch is logged again.
    first = steps_taken(output / "state.pt") + 1
    logger = TensorBoardLogger(output / "tensorboard", purge_step=first) if run.settings.tensorboard else None

    def after_epoch(fitted: Fitted) -> None:
        write_json(output / "history.json", fitted.history)
        tell(_line(fitted.history[-1], run.settings.training.epochs))
        if logger is not None:
            for name in ("loss", "held_out_loss", "held_out_accuracy"):
                logger.writer.add_scalar(f"train/{name}", fitted.history[-1][name], len(fitted.history))
        if len(fitted.history) in _moments(run.settings.training.epochs):
            draw_composites(fitted, data, output / "figures")

    with logger or nullcontext():
        fitted = fit(
            run.model,
            data,
            run.settings.training,
            state_file=output / "state.pt",
            report=report,
            after_epoch=after_epoch,
        )
    # Once more, for a run that was stopped between its last state and these.
    write_json(output / "history.json", fitted.history)
    draw_composites(fitted, data, output / "figures")
    save_run(fitted, run, output)
    results = measure_run(fitted, run, data)
    write_json(output / "results.json", results)
    return results


def _line(epoch: dict[str, Any], epochs: int) -> str:
    return (
        f"epoch {epoch['epoch']}/{epochs} ({', '.join(epoch['phases'])}): loss {epoch['loss']:.3f}, held-out loss "
        f"{epoch['held_out_loss']:.3f}, held-out accuracy {epoch['held_out_accuracy']:.1f} %, {epoch['seconds']:.0f} s"
    )


def _moments(epochs: int) -> set[int]:
    """Numbers of up to five epochs, the last among them."""
    return {int(epoch) for epoch in np.linspace(1, epochs, min(_MOMENTS, epochs)).round()}


def _check_split(file: Path, files: dict[str, list[str]]) -> None:
    """Write down which files a run has, and from where their paths lead, or check that they are the same ones."""
    if not file.is_file():
        write_json(file, files | {"directory": str(Path.cwd())})
        return
    before = read_json(file)
    for part, what in _PARTS.items():
        if before.get(part) != files[part]:
            raise ValueError(f"{what} other files than {file} says: images came or went since the run began")

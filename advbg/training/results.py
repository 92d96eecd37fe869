"""What a run of `advbg train` leaves behind: results, weights, figures."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from timm.data.config import resolve_model_data_config
from torch import Tensor

from advbg.attachment import device_of
from advbg.benchmark.environment import environment
from advbg.benchmark.figures import composite_rows
from advbg.files import save_state, save_weights
from advbg.preview import preview
from advbg.training.data import TrainingData
from advbg.training.fit import Fitted
from advbg.training.prepare import PreparedRun
from advbg.training.sets import BEFORE, HELD_OUT
from advbg.training.silhouettes import flooded_silhouettes
from advbg.training.testing import before_patterns, predict, rate
from advbg.training.trained import HEADER

_SHOWN_IMAGES = 8
# Of an image, so much must be found to be background for it to be tested before others.
_LEAST_BACKGROUND = 0.05


def measure_run(fitted: Fitted, run: PreparedRun, data: TrainingData) -> dict[str, Any]:
    """Test a trained model on everything that there is to test it on.

    Args:
        fitted: by `fit`.
        run: from `prepare`.
        data: the run's, split.

    Returns:
        What `results.json` holds.
    """
    bfloat16 = run.settings.training.precision == "bfloat16"
    best_model = copy.deepcopy(fitted.model)
    best_model.load_state_dict(fitted.best_weights)
    device = device_of(fitted.model)
    measured, best = {}, {}
    silhouettes = flooded_silhouettes(data.held_out_images)
    for name, pixels, targets, files in _sets(run, data, silhouettes):
        last_logits, best_logits = (predict(model, pixels, bfloat16=bfloat16) for model in (fitted.model, best_model))
        measured[name] = rate(last_logits, targets, run.classes, files)
        best[name] = rate(best_logits, targets, run.classes, files)["accuracy"]
    return {
        "method": run.settings.training.method,
        "model": run.settings.model,
        "seed": run.settings.training.seed,
        "settings": run.settings.named(),
        **environment(device),
        "device": str(device),
        "classes": list(run.classes),
        "images": {
            "size": data.images.shape[-1],
            "training": len(data.images),
            "held_out": len(data.held_out_images),
            "copies": data.count_copies(),
            "background_share": round(100 * (1 - silhouettes.float().mean().item()), 1),
            "replaceable": int(_replaceable(silhouettes).sum()),
            "unreadable": run.unreadable,
            "passed_over": run.passed_over,
        },
        "seconds": round(fitted.seconds, 1),
        "phase_seconds": {phase: round(seconds, 1) for phase, seconds in fitted.phase_seconds.items()},
        "sets": measured,
        "best": {"epoch": fitted.best_epoch, "accuracy": best},
    }


def _sets(run: PreparedRun, data: TrainingData, silhouettes: Tensor) -> Iterator[tuple[str, Tensor, Tensor, list[str]]]:
    """Name, images, targets and files of all that there is to test on; one by one, since patterns are copies."""
    files = [str(file) for file in run.held_out.files]
    yield HELD_OUT, data.held_out_images, data.held_out_targets, files
    for name, test in run.tests.items():
        yield name, test.pixels, test.targets, [str(file) for file in test.files]
    # Where an image's background is not plain, the flood stops early: before another one it would be the image itself.
    chosen = torch.nonzero(_replaceable(silhouettes)).flatten()
    if not len(chosen):
        return
    files, targets = [files[index] for index in chosen.tolist()], data.held_out_targets[chosen]
    for name, changed in before_patterns(data.held_out_images[chosen], silhouettes[chosen]):
        yield f"{BEFORE}{name}", changed, targets, files


def _replaceable(silhouettes: Bool[Tensor, "count 1 height width"]) -> Bool[Tensor, "count"]:
    """Which images have a background to replace."""
    return 1 - silhouettes.float().mean(dim=(1, 2, 3)) >= _LEAST_BACKGROUND


def save_run(fitted: Fitted, run: PreparedRun, output: Path) -> None:
    """Write the weights of the last and of the best epoch, and the state of the companions.

    Args:
        fitted: by `fit`.
        run: from `prepare`.
        output: the folder.
    """
    config = resolve_model_data_config(fitted.model)
    size = run.training.pixels.shape[-1]
    description = {
        "model": run.timm_name,
        "options": run.timm_options,
        "classes": list(run.classes),
        "image_size": size,
        "fit": run.settings.fit,
        "test_fit": run.settings.test_fit,
        "mean": list(config["mean"]),
        "std": list(config["std"]),
        "method": run.settings.training.method,
    }
    for name, weights, about in (
        ("model", fitted.model.state_dict(), description),
        ("best", fitted.best_weights, description | {"epoch": fitted.best_epoch}),
    ):
        save_weights(weights, output / f"{name}.safetensors", header=HEADER, description=about)
    if fitted.wrapper is not None:
        save_state(fitted.wrapper.companions.state_dict(), output / "companions.pt")


def draw_composites(fitted: Fitted, data: TrainingData, folder: Path) -> None:
    """Draw held-out images of different classes with what the companions make of them now, once masks are learned.

    Args:
        fitted: by `fit`, or on the way.
        data: the run's.
        folder: for the PNG, which is named after the epoch; made where it is not there.
    """
    if fitted.wrapper is None or fitted.history[-1]["phases"][-1] == "classifier":
        return
    folder.mkdir(exist_ok=True)
    chosen = torch.linspace(0, len(data.held_out_images) - 1, min(_SHOWN_IMAGES, len(data.held_out_images))).long()
    companions = fitted.wrapper.companions
    pixels = data.held_out_images[chosen].to(companions.device) / 255
    shown = preview(companions, companions.pixel_space.from_pixels(pixels))
    path = folder / f"composites-epoch-{len(fitted.history):02d}.png"
    composite_rows(shown.images, shown.masks, shown.composites, path, binarized_masks=shown.binarized)

"""How well a model does on images, with how sure one can be."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from scipy.stats import binomtest
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from advbg.attachment import device_of
from advbg.backgrounds.patterns import PATTERNS, Patterns
from advbg.pixel_space import PixelSpace

_BATCH_SIZE = 64
_WORST = 20


@torch.inference_mode()
def predict(
    model: nn.Module, pixels: UInt8[Tensor, "count 3 height width"], *, bfloat16: bool = False
) -> Float[Tensor, "count classes"]:
    """Ask a model for its logits.

    Args:
        model: put into evaluation mode; timm's `pretrained_cfg` says how its images are normalised.
        pixels: on the CPU.
        bfloat16: whether to call it under autocast.

    Returns:
        Logits in float32 on the CPU.
    """
    model.eval()
    device, space, logits = device_of(model), PixelSpace.of(model), []
    for batch in pixels.split(_BATCH_SIZE):
        images = space.from_pixels(batch.to(device) / 255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            logits.append(model(images).float().cpu())
    return torch.cat(logits)


def before_patterns(
    pixels: UInt8[Tensor, "count 3 height width"], silhouettes: Bool[Tensor, "count 1 height width"]
) -> Iterator[tuple[str, UInt8[Tensor, "count 3 height width"]]]:
    """Cut objects out by their silhouettes and put them before each of the paper's six patterns.

    Args:
        pixels: on the CPU.
        silhouettes: where the objects are; the same for every method, whatever masks it has learned.

    Yields:
        The name of each pattern, and the changed images.
    """
    generator = torch.Generator()
    channels, height, width = pixels.shape[1:]
    shape = (channels, height, width)
    for name in PATTERNS:
        background = (255 * Patterns(name).sample(1, shape, generator)).to(torch.uint8)
        yield name, torch.where(silhouettes, pixels, background)


def accuracy(logits: Float[Tensor, "count classes"], targets: Int64[Tensor, "count"]) -> float:
    """Percent of the images whose class has the largest logit."""
    return 100 * multiclass_accuracy(logits, targets, num_classes=logits.shape[1], average="micro").item()


def rate(
    logits: Float[Tensor, "count classes"],
    targets: Int64[Tensor, "count"],
    classes: Sequence[str],
    files: Sequence[str],
) -> dict[str, Any]:
    """Compare predictions with the truth.

    Args:
        logits: of the model.
        targets: indices of classes.
        classes: names of the classes.
        files: of the images, for the failures.

    Returns:
        `n`, `accuracy` in percent with its 95 % Wilson `interval`, the same for each class under `per_class` (None
        where a class has no images), the `confusion` matrix (rows are the truth), and under `failures` the most
        confident mistakes.
    """
    confusion = multiclass_confusion_matrix(logits, targets, num_classes=len(classes))
    counts, right = confusion.sum(dim=1).tolist(), confusion.diagonal().tolist()
    confidence, predicted = logits.softmax(dim=1).max(dim=1)
    wrong = torch.nonzero(predicted != targets).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:_WORST].tolist()
    return {
        **_share(sum(right), sum(counts)),
        "per_class": {name: _share(right[index], counts[index]) for index, name in enumerate(classes)},
        "confusion": confusion.tolist(),
        "failures": [
            {
                "file": str(Path(files[int(index)]).absolute()),
                "truth": classes[int(targets[index])],
                "predicted": classes[int(predicted[index])],
                "confidence": round(confidence[index].item(), 4),
            }
            for index in worst
        ],
    }


def _share(right: int, count: int) -> dict[str, Any]:
    if count == 0:
        return {"n": 0, "accuracy": None, "interval": None}
    interval = binomtest(right, count).proportion_ci(method="wilson")
    return {
        "n": count,
        "accuracy": round(100 * right / count, 2),
        "interval": [round(100 * float(interval.low), 2), round(100 * float(interval.high), 2)],
    }

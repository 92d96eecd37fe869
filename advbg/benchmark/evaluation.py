"""Accuracy before other backgrounds, in percent."""

from pathlib import Path

import torch
import torchvision.transforms.v2.functional as transforms
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_accuracy

from advbg.backgrounds.patterns import PATTERNS, random
from advbg.backgrounds.photographs import list_images, read_image
from advbg.benchmark.paper_backgrounds import dilated_silhouettes, replace_background

# Larger batches leave the caches of a CPU.
_BATCH_SIZE = 100

# Shares of white pixels in the paper's sensitivity analysis (section IV-C).
NOISE_RATES = (*(step / 100 for step in range(10)), *(step / 10 for step in range(1, 11)))


def accuracy(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    targets: Int[Tensor, "batch"],
) -> float:
    """The share of images that a classifier gets right.

    Args:
        model: put into evaluation mode for the while.
        images: its input.
        targets: indices of classes.

    Returns:
        Percent in [0, 100].

    Raises:
        ValueError: where there are no images.
    """
    if len(images) == 0:
        raise ValueError("`images` is empty")
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits = torch.cat([model(batch) for batch in images.split(_BATCH_SIZE)])
    finally:
        model.train(training)
    return 100 * multiclass_accuracy(logits, targets, num_classes=logits.shape[1], average="micro").item()


def accuracy_before_paper_backgrounds(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    targets: Int[Tensor, "batch"],
) -> dict[str, float]:
    """Accuracy on the images as they are (`original`) and before each of the paper's six backgrounds.

    Args:
        model: a classifier.
        images: square, pixels in [0, 1] on black.
        targets: indices of classes.

    Returns:
        Percent for each column of the paper's tables, in its order.
    """
    silhouettes = dilated_silhouettes(images)
    columns = {"original": accuracy(model, images, targets)}
    for name, draw in PATTERNS.items():
        columns[name] = accuracy(model, replace_background(images, silhouettes, draw(images.shape[-1])), targets)
    return columns


def sensitivity(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    targets: Int[Tensor, "batch"],
) -> dict[str, float]:
    """Accuracy before random white pixels at every rate of the paper's sensitivity analysis.

    Args:
        model: a classifier.
        images: square, pixels in [0, 1] on black.
        targets: indices of classes.

    Returns:
        Percent for each rate of `NOISE_RATES`, under the rate as text.
    """
    silhouettes = dilated_silhouettes(images)
    size = images.shape[-1]
    return {
        str(rate): accuracy(model, replace_background(images, silhouettes, random(size, rate=rate)), targets)
        for rate in NOISE_RATES
    }


def accuracy_before_photographs(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    targets: Int[Tensor, "batch"],
    folder: Path,
) -> dict[str, float]:
    """Accuracy before each image of a folder, used as background in the paper's way.

    Args:
        model: a classifier.
        images: monochrome pixels in [0, 1] on black.
        targets: indices of classes.
        folder: searched with its sub-folders; every image is made grey, and cropped and resized to the images' size.

    Returns:
        Percent for each file, under its path in the folder.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where it has no images or one cannot be read, before any work is done.
    """
    size = list(images.shape[-2:])
    backgrounds = {}
    for file in list_images(folder, "backgrounds"):
        photograph = read_image(file, channels=1)
        square = transforms.center_crop(photograph, [min(photograph.shape[-2:])] * 2)
        backgrounds[str(file.relative_to(folder))] = transforms.resize(square, size, antialias=True)[0]
    silhouettes = dilated_silhouettes(images)
    return {
        name: accuracy(model, replace_background(images, silhouettes, background), targets)
        for name, background in backgrounds.items()
    }

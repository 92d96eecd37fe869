"""The six test backgrounds of the paper (section IV-A), and how they are put behind objects."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from skimage.draw import circle_perimeter
from skimage.morphology import disk
from torch import Tensor

# Images dilated at a time, to keep memory small.
_CHUNK = 1000


def stripes(size: int = 32) -> Float[Tensor, "size size"]:
    """Diagonal lines `row = column + b`, 2 pixels thick, every 10 pixels."""
    row, column = np.indices((size, size))
    return _as_image((row - column + size - 1) % 10 < 2)


def board(size: int = 32) -> Float[Tensor, "size size"]:
    """A checkerboard of 6 pixels, beginning with black 2 pixels above and left of the image."""
    row, column = np.indices((size, size))
    return _as_image(((row + 2) // 6 + (column + 2) // 6) % 2 == 1)


def border(size: int = 32) -> Float[Tensor, "size size"]:
    """A frame of 2 pixels."""
    image = np.ones((size, size))
    image[2:-2, 2:-2] = 0
    return _as_image(image)


def circles(size: int = 32) -> Float[Tensor, "size size"]:
    """Four circles of radius 6, 1 pixel wide, centred 8 pixels from the corners."""
    image = np.zeros((size, size))
    for row in (8, size - 8):
        for column in (8, size - 8):
            image[circle_perimeter(row, column, 6, shape=image.shape)] = 1
    return _as_image(image)


def clock(size: int = 32) -> Float[Tensor, "size size"]:
    """Two concentric circles of 1 pixel and four ticks of 2x6 pixels at 12, 3, 6 and 9 o'clock."""
    image = np.zeros((size, size))
    middle = size // 2
    for radius in (middle - 1, middle - 2):
        image[circle_perimeter(middle, middle, radius, shape=image.shape)] = 1
    for tick in (slice(None, 6), slice(-6, None)):
        image[tick, middle - 1 : middle + 1] = 1
        image[middle - 1 : middle + 1, tick] = 1
    return _as_image(image)


def random(size: int = 32, *, rate: float = 0.25, seed: int = 0) -> Float[Tensor, "size size"]:
    """White pixels at random places.

    Args:
        size: of the image, in pixels.
        rate: share of white pixels, in [0, 1]; the paper's sensitivity analysis sweeps it.
        seed: of the places.

    Raises:
        ValueError: where `rate` is no share.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"`rate` (={rate!r}) must be a share of the pixels in [0, 1]")
    # The authors' generator, whose stream NumPy guarantees.
    places = np.random.RandomState(seed).choice(size * size, int(size * size * rate), replace=False)
    image = np.zeros(size * size)
    image[places] = 1
    return _as_image(image.reshape(size, size))


PAPER_BACKGROUNDS: dict[str, Callable[[int], Tensor]] = {
    "stripes": stripes,
    "board": board,
    "border": border,
    "circles": circles,
    "clock": clock,
    "random": random,
}


def dilated_silhouettes(
    images: Float[Tensor, "batch channel height width"], radius: int = 2
) -> Bool[Tensor, "batch 1 height width"]:
    """Where an object is: every pixel above 0 in any channel, dilated by a disk.

    Args:
        images: pixels in [0, 1] on black.
        radius: of the disk, in pixels.
    """
    footprint = torch.from_numpy(disk(radius)).to(images.device, torch.float32)[None, None]
    silhouettes = (images > 0).any(dim=1, keepdim=True).float()
    return torch.cat([F.conv2d(chunk, footprint, padding=radius) > 0.5 for chunk in silhouettes.split(_CHUNK)])


def replace_background(
    images: Float[Tensor, "batch channel height width"],
    silhouettes: Bool[Tensor, "batch 1 height width"],
    background: Float[Tensor, "height width"],
) -> Float[Tensor, "batch channel height width"]:
    """Put one background behind every object.

    Args:
        images: pixels in [0, 1].
        silhouettes: from `dilated_silhouettes`; what is outside takes the background's value.
        background: pixels in [0, 1].
    """
    return torch.where(silhouettes, images, background.to(images))


def _as_image(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))

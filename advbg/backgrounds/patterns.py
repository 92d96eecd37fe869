"""The six patterns of the paper (section IV-A), drawn at any size, and a source of them."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from skimage.draw import circle_perimeter
from torch import Tensor

# The paper's images, in pixels.
_SIZE = 32


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


PATTERNS: dict[str, Callable[[int], Tensor]] = {
    "stripes": stripes,
    "board": board,
    "border": border,
    "circles": circles,
    "clock": clock,
    "random": random,
}


class Patterns:
    """Random patterns of the paper, drawn at its 32 pixels and enlarged to the images' size without smoothing.

    Args:
        names: which of `PATTERNS` to draw from; all six where none is named.

    Raises:
        ValueError: where a name is none of them.
    """

    def __init__(self, *names: str) -> None:
        for name in names:
            if name not in PATTERNS:
                raise ValueError(f"`names` (={names!r}) must be among {', '.join(PATTERNS)}, got {name!r}")
        self.pixels = torch.stack([PATTERNS[name](_SIZE) for name in names or PATTERNS])

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Draw patterns of zeros and ones, the same in each channel."""
        channels, height, width = shape
        which = torch.randint(len(self.pixels), (count,), generator=generator, device=generator.device)
        patterns = self.pixels.to(generator.device)[which, None]
        return F.interpolate(patterns, size=(height, width), mode="nearest-exact").repeat(1, channels, 1, 1)


def _as_image(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))

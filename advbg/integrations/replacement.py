"""What the data pipelines have in common: where backgrounds come from, what a mask is, and how images are changed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Real, UInt8
from torch import Tensor

from advbg.backgrounds import BackgroundSource, Black, Noise, Photographs, Scenes, check_range, sample_backgrounds
from advbg.backgrounds.fixed import FixedImage
from advbg.backgrounds.patterns import PATTERNS, Patterns
from advbg.backgrounds.random_generators import RandomGenerators
from advbg.compositing import composite
from advbg.export import ExportedGenerator
from advbg.masks import check_mask
from advbg.numbers import is_number
from advbg.pixel_space import PixelSpace

# What can be asked for: see `as_source`.
Background = str | Path | np.ndarray | Tensor | BackgroundSource

_PIXELS = PixelSpace()
_NAMED: dict[str, Callable[[], BackgroundSource]] = {
    "random": RandomGenerators,
    "scenes": Scenes,
    "noise": Noise,
    "black": Black,
    "patterns": Patterns,
}


def as_source(background: object) -> BackgroundSource:
    """Find out where backgrounds come from.

    Args:
        background: one of

            - `"random"` (small generators, drawn anew each time), `"scenes"` (made-up ones, for images in colour),
              `"noise"`, `"black"`, `"patterns"` (the paper's six) or one of those, as in `"patterns:stripes"`,
            - a path: of a folder of photographs, or of a generator that `export_generator` wrote (`.safetensors`),
            - a picture: an array of shape (height, width) or (height, width, channel), or a tensor of shape
              (channel, height, width), as uint8 or float in [0, 1],
            - any `BackgroundSource`.

    Raises:
        FileNotFoundError, ValueError: where there is nothing of that kind.
        TypeError: where `background` is something else.
    """
    if isinstance(background, str | Path):
        return _named_source(background)
    if isinstance(background, np.ndarray):
        if background.ndim not in (2, 3):
            raise ValueError(
                f"`background` has shape {background.shape}, expected (height, width) or (height, width, channel)"
            )
        picture = torch.from_numpy(np.ascontiguousarray(background))
        return FixedImage(_as_float(picture[None] if background.ndim == 2 else picture.permute(2, 0, 1)))
    if isinstance(background, Tensor):
        return FixedImage(_as_float(background))
    # A class has the method as well, but nothing to call it on.
    if isinstance(background, BackgroundSource) and not isinstance(background, type):
        return background
    raise TypeError(
        f"`background` (={background!r}) must be a name, a path, a picture, or have a method "
        "`sample(count, shape, generator)`"
    )


def as_foreground(
    mask: Tensor, images: Real[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """Check a mask and turn it into weights.

    Args:
        mask: the foreground, of shape (batch, height, width) or (batch, 1, height, width): bool, float in [0, 1]
            (values between mix object and background), or integers that are 0 outside and all 1 or all 255 inside.
        images: of shape (batch, channel, height, width).

    Raises:
        ValueError: where shape, dtype or values are others.
    """
    if not mask.is_floating_point() and mask.dtype != torch.bool:
        labels = mask.long()  # since few operations know 16 bits without a sign
        values = labels.unique().tolist()
        if set(values) - {0, 1} and set(values) - {0, 255}:
            raise ValueError(
                f"`mask` of {mask.dtype} has the values {values[:5]}, expected 0 and 1, or 0 and 255: pass "
                "`mask == label` to take one label for the object, or `mask / 255` as float for soft edges"
            )
        mask = labels > 0
    return check_mask(mask, images)


def check_probability(p: float) -> None:
    """Check the argument `p` of a transform.

    Raises:
        ValueError: where it is no number in [0, 1].
    """
    if not is_number(p) or not 0 <= float(p) <= 1:
        raise ValueError(f"`p` (={p!r}) must be a probability in [0, 1]")


def check_pixels(images: Tensor) -> None:
    """Check that images are pixels.

    Args:
        images: uint8, or float in [0, 1]; resizing may overshoot a little.

    Raises:
        ValueError: where dtype or range is another.
    """
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise ValueError(f"`image` has dtype {images.dtype}, expected uint8 or a float in [0, 1]")
    if not images.numel():
        return
    low, high = (value.item() for value in torch.aminmax(images))
    if not -0.05 <= low <= high <= 1.05:
        raise ValueError(
            f"`image` ranges over [{low:.3g}, {high:.3g}], expected pixels in [0, 1]: replace backgrounds before "
            "images are normalised"
        )


@torch.no_grad()
def draw_backgrounds(
    source: BackgroundSource, count: int, shape: tuple[int, int, int], seed: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "count channel height width"]:
    """Draw backgrounds in [0, 1]; the same seed draws the same again.

    Raises:
        TypeError: where the source makes no tensor.
        ValueError: where it makes others than it was asked for.
    """
    backgrounds = sample_backgrounds(source, count, shape, torch.Generator(device).manual_seed(seed))
    check_range(backgrounds, source)
    return backgrounds.detach()  # a view of a parameter asks for a gradient even here


def replace_background(
    images: Float[Tensor, "batch channel height width"] | UInt8[Tensor, "batch channel height width"],
    foreground: Float[Tensor, "batch 1 height width"],
    backgrounds: Float[Tensor, "batch channel height width"],
    replaced: Bool[Tensor, "batch"],
) -> Real[Tensor, "batch channel height width"]:
    """Put objects before other backgrounds.

    Args:
        images: uint8, or float in [0, 1], of shape (batch, channel, height, width).
        foreground: weights in [0, 1].
        backgrounds: pixels in [0, 1].
        replaced: which images to change; one whose mask is empty stays as it is.

    Returns:
        Images of the same shape and dtype. Where the foreground is 1, pixels are the same bit for bit.
    """
    if images.dtype != torch.uint8:
        return composite(images, foreground, backgrounds, replaced, _PIXELS)
    return composite(images.float(), foreground, backgrounds * 255, replaced, _PIXELS).round().to(torch.uint8)


def _named_source(name: str | Path) -> BackgroundSource:
    if isinstance(name, str) and name in _NAMED:
        return _NAMED[name]()
    if name in ("adversarial", "paper"):
        raise ValueError(
            f"`background` (={name!r}) learns beside a model, and nothing learns in a pipeline: take one that "
            "`export_generator` wrote, or the wrapper"
        )
    if isinstance(name, str) and name.startswith("patterns:"):
        return Patterns(name.removeprefix("patterns:"))
    path = Path(name)
    if path.suffix == ".safetensors":
        return ExportedGenerator(path)
    if path.is_dir():
        return Photographs(path)
    raise FileNotFoundError(
        f"`background` (={str(name)!r}) is no folder of photographs, no exported generator (.safetensors), and none "
        f"of {', '.join(_NAMED)}, {', '.join(f'patterns:{pattern}' for pattern in PATTERNS)}"
    )


def _as_float(picture: Tensor) -> Tensor:
    if picture.dtype == torch.uint8:
        return picture / 255
    if not picture.is_floating_point():
        raise ValueError(f"`background` has dtype {picture.dtype}, expected uint8 or a float in [0, 1]")
    return picture

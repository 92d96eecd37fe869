"""Masks that nobody has to learn."""

import torch
from jaxtyping import Bool, Float, Real
from torch import Tensor

from advbg.pixel_space import outside_unit_interval

# Half of the smallest of 8 bits: images that were normalised come back with rounding errors where they were black.
_BLACK = 0.5 / 255


def nonzero_mask(
    pixels: Float[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """The paper's heuristic for digits and garments: every pixel that is not black is foreground.

    Args:
        pixels: images in [0, 1] on a black background; black is what is nearer to 0 than to 1/255 in every channel.

    Returns:
        Masks of zeros and ones.
    """
    return (pixels > _BLACK).any(dim=1, keepdim=True).to(pixels.dtype)


def check_mask(
    mask: Tensor, images: Real[Tensor, "batch channel height width"]
) -> Float[Tensor, "batch 1 height width"]:
    """Check a mask that came with its images and bring it into shape.

    Args:
        mask: foreground as bool, or float in [0, 1], of shape (batch, height, width) or (batch, 1, height, width). A
            bool mask spares the GPU the look at its values.
        images: the images that it belongs to.

    Returns:
        The mask as float32 with a channel.

    Raises:
        TypeError: where it is no tensor.
        ValueError: where shape, device, dtype or range is another.
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"`mask` (a {type(mask).__name__}) must be a tensor, bool or float in [0, 1]")
    if mask.ndim == 3:
        mask = mask[:, None]
    batch, _, height, width = images.shape
    if tuple(mask.shape) != (batch, 1, height, width):
        raise ValueError(
            f"`mask` has shape {tuple(mask.shape)}, but `images` of shape {tuple(images.shape)} need "
            f"{(batch, 1, height, width)} or {(batch, height, width)}"
        )
    if mask.device != images.device:
        raise ValueError(f"`mask` lies on {mask.device}, but `images` on {images.device}: take both to one device")
    return _check_values(mask)


def _check_values(mask: Bool[Tensor, "..."] | Float[Tensor, "..."] | Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return mask.float()
    if not mask.is_floating_point():
        raise ValueError(f"`mask` has dtype {mask.dtype}, expected bool or a float in [0, 1]")
    if outside := outside_unit_interval(mask):
        raise ValueError("`mask` ranges over [{:.5g}, {:.5g}], expected [0, 1]".format(*outside))
    return mask.float().clamp(0, 1)

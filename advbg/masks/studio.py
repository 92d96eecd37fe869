"""The studio's colour, and how far pixels are from it: what a plain background gives away."""

import torch
from jaxtyping import Float
from torch import Tensor

# Half a level of 8 bits, after the root: an image that differs less from its border is flat, but for rounding.
_FLAT = (0.5 / 255) ** 0.5


def studio_color(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel 1 1"]:
    """The median of the outermost pixels of each image and channel.

    Args:
        images: pixels, or normalised.
    """
    top_and_bottom = torch.cat([images[:, :, :1], images[:, :, -1:]], dim=2)
    left_and_right = torch.cat([images[:, :, 1:-1, :1], images[:, :, 1:-1, -1:]], dim=3)
    frame = torch.cat([top_and_bottom.flatten(2), left_and_right.flatten(2)], dim=2).float()
    # Not by `median`, which raises on CUDA where deterministic algorithms are asked for.
    median = frame.sort(dim=2).values[:, :, (frame.shape[2] - 1) // 2]
    return median[:, :, None, None].to(images.dtype)


def studio_difference(images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
    """How far each pixel is from the colour of its image's border, in units of the farthest.

    Args:
        images: pixels, or normalised.

    Returns:
        The square root of the largest channel's difference, since shades that are close to the background's belong to
        the object as well; in [0, 1], and next to 0 everywhere for a flat image.
    """
    difference = (images - studio_color(images)).abs().amax(dim=1, keepdim=True).sqrt()
    return difference / difference.amax(dim=(2, 3), keepdim=True).clamp_min(_FLAT)

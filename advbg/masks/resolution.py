"""Masks of large images are made small: no composite at full size can tell them apart."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# In pixels, of the longer side.
_LARGEST_SIDE = 64


def reduced_size(images: Float[Tensor, "batch channel height width"]) -> tuple[int, int]:
    """Height and width at which the masks of these images are made, at most 64 pixels."""
    height, width = images.shape[-2:]
    shrink = max(1.0, max(height, width) / _LARGEST_SIDE)
    return max(1, round(height / shrink)), max(1, round(width / shrink))


def reduce_to_mask_size(
    images: Float[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch channel rows columns"]:
    """Shrink images or masks by averaging; the very tensor where it is small enough."""
    size = reduced_size(images)
    return images if images.shape[-2:] == size else F.interpolate(images, size=size, mode="area")


def enlarge(
    mask: Float[Tensor, "batch channel rows columns"], size: torch.Size
) -> Float[Tensor, "batch channel height width"]:
    """Bring masks to the images' size, with soft edges; the very tensor where it has it."""
    return mask if mask.shape[-2:] == size else F.interpolate(mask, size=size, mode="bilinear")

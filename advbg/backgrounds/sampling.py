"""Bilinear sampling of images that go on mirrored, with a gradient that can be deterministic."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def sample_mirrored(
    images: Float[Tensor, "count channel rows columns"], places: Float[Tensor, "count height width 2"]
) -> Float[Tensor, "count channel height width"]:
    """Read images between their pixels; beyond their borders lie mirrored copies.

    Args:
        images: float, with any values.
        places: across and down, in [-1, 1] of the image, as `torch.nn.functional.grid_sample` takes them.

    Returns:
        The values there, within the range of `images` but for rounding, with the gradient of `images`.
    """
    # `grid_sample` raises on CUDA where deterministic gradients are asked for.
    if torch.are_deterministic_algorithms_enabled() and images.requires_grad:
        return _sample_by_index(images, places)
    return F.grid_sample(images, places, padding_mode="reflection", align_corners=False)


def _sample_by_index(images: Tensor, places: Tensor) -> Tensor:
    """The same by `gather`, whose gradient has a deterministic form."""
    height, width = images.shape[-2:]
    left, right, across = _neighbours(places[..., 0], width)
    upper, lower, down = _neighbours(places[..., 1], height)
    flat = images.flatten(2)

    def read(row: Int64[Tensor, "count height width"], column: Int64[Tensor, "count height width"]) -> Tensor:
        index = (row * width + column).flatten(1)[:, None].expand(-1, images.shape[1], -1)
        return flat.gather(2, index).unflatten(2, row.shape[1:])

    across, down = across[:, None], down[:, None]
    above = read(upper, left) * (1 - across) + read(upper, right) * across
    below = read(lower, left) * (1 - across) + read(lower, right) * across
    return above * (1 - down) + below * down


def _neighbours(places: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels before and after each place of one axis, and the weight of those after."""
    # Pixels have their centres at half a pixel; every second copy of the image runs backwards.
    along = (length - ((places + 1) * length / 2).remainder(2 * length)).abs()
    along = (length - along - 0.5).clamp(0, length - 1)
    before = along.floor()
    return before.long(), (before + 1).clamp(max=length - 1).long(), along - before

"""The same object many times over, as things lie in a shop, on a shelf or in a field."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from advbg.appearance import has_foreground

# Copies lie in the cells of a grid; further grids, each moved by a part of a cell, lie above it, so that they overlap.
_GRIDS = 3
# Cells a side: from objects that the image's border cuts to many small ones.
_FEWEST, _MOST = 1.5, 5.0
# A grid that is moved shows a part of one more.
_CELLS = math.ceil(_MOST) + 1
# The frame of a copy, in sides of its cell.
_SMALLEST = 0.75
_LARGEST_ANGLE = math.pi / 3

# For each cell: the frame's size, its place across and down, its angle, and whether it is mirrored.
_PER_CELL = 5


def draw_copies(
    composited: Bool[Tensor, "batch"], share: float, generator: torch.Generator
) -> Float[Tensor, "batch draws"]:
    """Draw which composites show their object many times, how small, and how the copies lie.

    Args:
        composited: which images get a background; the others stay as they are.
        share: of the composites, in [0, 1].
        generator: on the images' device.

    Returns:
        For each image its cells a side, 0 where its object stays single; then, in [0, 1), how far each grid is moved
        across and down, and what is drawn for each of its cells.
    """
    count, device = len(composited), composited.device
    draws = torch.rand((count, 2 + _GRIDS * (2 + _CELLS**2 * _PER_CELL)), generator=generator, device=device)
    cells = _FEWEST * (_MOST / _FEWEST) ** draws[:, 1:2]
    chosen = (composited & (draws[:, 0] < share))[:, None]
    return torch.cat([torch.where(chosen, cells, 0.0), draws[:, 2:]], dim=1)


def show_copies(
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    copies: Float[Tensor, "batch draws"],
) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 1 height width"]]:
    """Show objects many times over: shrunk, turned, mirrored, and some before others.

    A training on single objects says nothing of what a heap of them looks like, whatever is behind them. Labels stay
    true, as in other augmentations by pasting (Ghiasi et al., *Simple copy-paste*, CVPR 2021).

    Args:
        images: the model's input.
        mask: foreground in [0, 1].
        copies: from `draw_copies`.

    Returns:
        Images and masks of the same shapes, dtypes and memory layouts. Those that stay single, and those of whose mask
        nothing would be left, are the same values; where a mask of copies is 0, its image means nothing.
    """
    shown = _scatter(images.float(), mask.float(), copies)
    weight = shown[:, -1:]
    colours = torch.where(weight > 0, shown[:, :-1] / weight.clamp_min(torch.finfo(weight.dtype).tiny), 0.0)
    many = ((copies[:, 0] > 0) & has_foreground(weight))[:, None, None, None]
    return (
        torch.empty_like(images).copy_(torch.where(many, colours, images)),
        torch.empty_like(mask).copy_(torch.where(many, weight, mask)),
    )


def _scatter(
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    copies: Float[Tensor, "batch draws"],
) -> Float[Tensor, "batch channel_and_mask height width"]:
    """Colours times masks, and masks, of copies in all images."""
    device, (height, width) = images.device, images.shape[-2:]
    # Colours are weighted, so that nothing of what is behind an object comes along. All copies are small: from half the
    # size, fewer pixels are stepped over.
    half = ((height + 1) // 2, (width + 1) // 2)
    objects = F.interpolate(torch.cat([images * mask, mask], dim=1), size=half, mode="area")
    cells = copies[:, :1]
    moves = copies[:, 1 : 1 + 2 * _GRIDS].unflatten(1, (_GRIDS, 2))
    drawn = copies[:, 1 + 2 * _GRIDS :].unflatten(1, (_GRIDS, _CELLS, _CELLS, _PER_CELL))
    down, across = ((torch.arange(side, device=device) + 0.5) / side for side in (height, width))
    shown = torch.zeros((*mask.shape[:1], objects.shape[1], height, width), device=device)
    for grid in range(_GRIDS):
        right, lower = cells * across + moves[:, grid, :1], cells * down + moves[:, grid, 1:]
        places = _places(right, lower, drawn[:, grid], width / height)
        copy = F.grid_sample(objects, places, padding_mode="zeros", align_corners=False)
        shown = shown * (1 - copy[:, -1:]) + copy
    return shown


def _places(
    right: Float[Tensor, "batch width"],
    lower: Float[Tensor, "batch height"],
    drawn: Float[Tensor, "batch rows columns draws"],
    aspect: float,
) -> Float[Tensor, "batch height width 2"]:
    """Where in the frame of its cell's copy each pixel lies; `right` and `lower` are pixels' places in cells."""
    column, row = right.long(), lower.long()
    which = torch.arange(len(drawn), device=drawn.device)[:, None, None]
    size, x, y, angle, mirrored = drawn[which, row[:, :, None], column[:, None, :]].unbind(-1)
    size = 1 - (1 - _SMALLEST) * size
    # From the middle of the frame, in halves of its sides.
    x = (2 * (right - column)[:, None, :] - 1 - (2 * x - 1) * (1 - size)) / size
    y = (2 * (lower - row)[:, :, None] - 1 - (2 * y - 1) * (1 - size)) / size
    angle = _LARGEST_ANGLE * (2 * angle - 1)
    turned_x = angle.cos() * x + angle.sin() * y / aspect
    turned_y = angle.cos() * y - angle.sin() * x * aspect
    return torch.stack([torch.where(mirrored < 0.5, -turned_x, turned_x), turned_y], dim=-1)

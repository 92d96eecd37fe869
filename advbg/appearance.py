"""How an object looks in a composite: where it lies, how large it is, and in which light it stands."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from advbg.pixel_space import PixelSpace

# Of the composites whose appearance changes.
_SHARE = 0.5
# Colours of light differ less than its brightness does.
_COLOUR_SHARE = 0.25
# Half of the smallest of 8 bits: a sigmoid is never 0.
_VISIBLE = 0.5 / 255
# Below it, since powers under 1 have an infinite slope at 0, black becomes a little lighter.
_DARKEST = 1 / 255


def has_foreground(mask: Float[Tensor, "batch 1 height width"]) -> Bool[Tensor, "batch"]:
    """In which images there is an object; the others stay as they are, since nothing of theirs would be left."""
    # On CPUs the largest of many numbers is found ten times faster than any of many truths.
    return torch.amax(mask, dim=(1, 2, 3)) > _VISIBLE


def draw_placement(
    composited: Bool[Tensor, "batch"], largest: float, generator: torch.Generator
) -> Float[Tensor, "batch 3"]:
    """Draw how large objects shall be, and where: half of the composites are shrunk, about any point of the image.

    Args:
        composited: which images get a background; the others stay where they are.
        largest: by how much objects are shrunk at most, in [0, 1).
        generator: on the images' device.

    Returns:
        For each image its scale, in (1 - largest, 1], and the shift of its centre to the right and down, in halves
        of its sides: as far as its frame stays within the image.
    """
    count, device = len(composited), composited.device
    draws = torch.rand((count, 4), generator=generator, device=device)
    moves = composited & (draws[:, 0] < _SHARE)
    scale = torch.where(moves, 1 - largest * draws[:, 1], 1.0)
    return torch.cat([scale[:, None], (2 * draws[:, 2:] - 1) * (1 - scale)[:, None]], dim=1)


def move_objects(
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    placement: Float[Tensor, "batch 3"],
) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 1 height width"]]:
    """Shrink objects and move them.

    Args:
        images: the model's input.
        mask: foreground in [0, 1].
        placement: from `draw_placement`.

    Returns:
        Images and masks of the same shapes, dtypes and memory layouts; about a shrunk frame the mask is 0. Images of
        scale 1, and those of whose mask nothing would be left, are the same values.
    """
    height, width = images.shape[-2:]
    down, across = ((2 * torch.arange(side, device=images.device) + 1) / side - 1 for side in (height, width))
    scale, right, lower = (part[:, None] for part in placement.unbind(1))
    # Not by `affine_grid`, whose product autocast would round to half a pixel.
    across, down = ((across - right) / scale)[:, None, :], ((down - lower) / scale)[:, :, None]
    grid = torch.stack(torch.broadcast_tensors(across, down), dim=-1)
    moved_mask = F.grid_sample(mask.float(), grid, padding_mode="zeros", align_corners=False)
    moved_images = F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)
    moves = ((placement[:, 0] < 1) & has_foreground(moved_mask))[:, None, None, None]
    return (
        torch.empty_like(images).copy_(torch.where(moves, moved_images, images)),
        torch.empty_like(mask).copy_(torch.where(moves, moved_mask, mask)),
    )


def draw_lighting(
    composited: Bool[Tensor, "batch"], channels: int, strength: float, generator: torch.Generator
) -> Float[Tensor, "batch light"]:
    """Draw the light of scenes: half of the composites get another one.

    Args:
        composited: which images get a background; the others stay as they are.
        channels: of the images.
        strength: how far light goes, 0 or more: gamma, brightness and contrast vary by factors of up to e to its power.
        generator: on the images' device.

    Returns:
        For each image a gamma, a contrast and a brightness for each channel; all 1 where nothing changes.
    """
    count, device = len(composited), composited.device
    draws = torch.rand((count, 4 + channels), generator=generator, device=device)
    lit = composited & (draws[:, 0] < _SHARE)
    exponents = 2 * draws[:, 1:] - 1
    brightness = exponents[:, 2:3] + _COLOUR_SHARE * exponents[:, 3:]
    return torch.where(lit[:, None], (strength * torch.cat([exponents[:, :2], brightness], dim=1)).exp(), 1.0)


def relight(
    composites: Float[Tensor, "batch channel height width"],
    lighting: Float[Tensor, "batch light"],
    pixel_space: PixelSpace,
) -> Float[Tensor, "batch channel height width"]:
    """Show composites, objects and backgrounds alike, in another light.

    Args:
        composites: the model's input.
        lighting: from `draw_lighting`.
        pixel_space: the normalisation of `composites`.

    Returns:
        Images of the same shape, dtype and memory layout, with pixels in [0, 1] where the light is another.
    """
    lit = (lighting != 1).any(dim=1)[:, None, None, None]
    gamma, contrast, brightness = (part[..., None, None] for part in lighting.split([1, 1, lighting.shape[1] - 2], 1))
    exposed = pixel_space.to_pixels(composites).clamp(_DARKEST, 1) ** gamma * brightness
    mean = exposed.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (mean + (exposed - mean) * contrast).clamp(0, 1)
    return torch.where(lit, pixel_space.from_pixels(pixels).to(composites.dtype), composites)

"""Pieces of images as backgrounds: enlarged, or reduced and mirrored at their borders."""

import torch
from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds.sampling import sample_mirrored


def show_pieces(
    images: Float[Tensor, "count channel rows columns"],
    centre: Float[Tensor, "count 2"],
    side: Float[Tensor, "count"],
    size: tuple[int, int],
    generator: torch.Generator,
) -> Float[Tensor, "count channel height width"]:
    """Show a piece of each image at another size, half of them mirrored.

    Args:
        images: float, with any values.
        centre: of the pieces, across and down, in [-1, 1] of the image.
        side: of the pieces, in sides of the image; over 1, mirrored copies of the image lie about it.
        size: height and width to show them at.
        generator: on the images' device; draws which are mirrored.

    Returns:
        Pieces within the range of `images`, but for rounding, with their gradient.
    """
    device, (height, width) = images.device, size
    mirrored = torch.where(torch.rand(len(images), generator=generator, device=device) < 0.5, -side, side)
    rows, columns = ((2 * torch.arange(length, device=device) + 1) / length - 1 for length in (height, width))
    across = (centre[:, :1] + mirrored[:, None] * columns)[:, None, :]
    down = (centre[:, 1:] + side[:, None] * rows)[:, :, None]
    grid = torch.stack(torch.broadcast_tensors(across, down), dim=-1)
    return sample_mirrored(images, grid)


def fill(
    backgrounds: Float[Tensor, "count channel rows columns"], size: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "count channel height width"]:
    """Bring backgrounds that were made small to the size of images, each at a sharpness of its own.

    Were all of them enlarged, everything sharp would be object.

    Args:
        backgrounds: pixels in [0, 1], smaller than `size`.
        size: height and width of the images.
        generator: on their device; draws how far each is enlarged, from the whole over the image to pixel for pixel,
            and which part of it is shown.

    Returns:
        Backgrounds in [0, 1], but for rounding, with their gradient.
    """
    count, device = len(backgrounds), backgrounds.device
    centre = 2 * torch.rand((count, 2), generator=generator, device=device) - 1
    largest = max(size) / max(backgrounds.shape[-2:])
    side = largest ** torch.rand(count, generator=generator, device=device)
    return show_pieces(backgrounds, centre, side, size, generator)

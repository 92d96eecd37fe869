"""What stands behind an object may be made of the same stuff as objects are: pieces of other images, other objects."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from advbg.backgrounds.pieces import show_pieces
from advbg.masks.resolution import enlarge
from advbg.options import MOST_DISTRACTORS, Options
from advbg.random_numbers import draw_number

# Sides of the pieces, in sides of the image: from a blurred detail of an object to all of it, with what surrounds it.
_SMALLEST, _LARGEST = 1 / 6, 1.4

# Where a piece is cut out is drawn on a grid of so many cells a side.
_CELLS = 16


def show_other_objects(
    backgrounds: Float[Tensor, "batch channel height width"],
    pixels: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 rows columns"],
    options: Options,
    generator: torch.Generator,
) -> Float[Tensor, "batch channel height width"]:
    """Add clutter, then distractors, as far as the options ask for any; other arguments as for `add_clutter`."""
    if options.clutter:
        backgrounds = add_clutter(backgrounds, pixels, mask, options.clutter, generator)
    if options.distractors:
        backgrounds = add_distractors(backgrounds, pixels, mask, options.distractors, generator)
    return backgrounds


def add_clutter(
    backgrounds: Float[Tensor, "batch channel height width"],
    pixels: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 rows columns"],
    share: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch channel height width"]:
    """Replace some of the backgrounds by pieces of other images, each about a point of its object.

    They have the textures, edges and colours of photographs, and what tells other classes: the hardest of what a
    background can show (the "mixed random" of Xiao et al., *Noise or signal*, ICLR 2021), without any file.

    Args:
        backgrounds: of a source, pixels in [0, 1].
        pixels: the images; a single one is its own other.
        mask: where their objects are, in [0, 1], at any resolution.
        share: of the backgrounds, in [0, 1].
        generator: on the images' device.

    Returns:
        Backgrounds in [0, 1]. Those that were replaced have no gradient.
    """
    chosen, others = _choose(len(backgrounds), share, generator)
    if not len(chosen):
        return backgrounds
    pieces = _pieces(pixels[others].detach(), mask[others].detach(), generator)
    return backgrounds.index_copy(0, chosen, pieces.to(backgrounds))


def add_distractors(
    backgrounds: Float[Tensor, "batch channel height width"],
    pixels: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 rows columns"],
    number: float,
    generator: torch.Generator,
) -> Float[Tensor, "batch channel height width"]:
    """Let other images' objects stand in the backgrounds, cut out: there they show what tells other classes.

    Their edges are soft, with as much of what was behind them as those of the objects in composites: were they cleaner,
    that would be a cue.

    Args:
        backgrounds: of a source, pixels in [0, 1].
        pixels: the images; a single one is its own other.
        mask: where their objects are, in [0, 1], at any resolution.
        number: of objects drawn for each background, in the mean, in [0, `MOST_DISTRACTORS`]. One that is shown smaller
            than it was has mirrored copies about it.
        generator: on the images' device.

    Returns:
        Backgrounds in [0, 1], but for rounding, with their gradient where no object hides them.
    """
    for _ in range(MOST_DISTRACTORS):
        chosen, others = _choose(len(backgrounds), number / MOST_DISTRACTORS, generator)
        if not len(chosen):
            continue
        objects = mask[others].detach()
        opacity = enlarge(objects.float(), pixels.shape[-2:])
        # Cut out before they are resized, or edges would mix with more of what was behind them.
        layers = torch.cat([pixels[others].detach().clamp(0, 1) * opacity, opacity], dim=1)
        shown, opacity = _pieces(layers, objects, generator).to(backgrounds).split([pixels.shape[1], 1], dim=1)
        backgrounds = backgrounds.index_copy(0, chosen, shown + backgrounds[chosen] * (1 - opacity))
    return backgrounds


def _choose(
    count: int, share: float, generator: torch.Generator
) -> tuple[Int64[Tensor, "chosen"], Int64[Tensor, "chosen"]]:
    """Choose backgrounds, and for each of them another image."""
    device = generator.device
    offset = draw_number(generator)
    # As a mixture shares out its batches: rounded down or up, so that small batches get their share as well.
    number = math.floor(count * share + offset)
    chosen = torch.randperm(count, generator=generator, device=device)[:number]
    if not number:
        return chosen, chosen
    step = torch.randint(min(1, count - 1), max(1, count), (number,), generator=generator, device=device)
    return chosen, (chosen + step) % count


def _pieces(images: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Of each image, with values in [0, 1], a square about a point of its object, as large as the image."""
    count, device = len(images), images.device
    side = _SMALLEST * (_LARGEST / _SMALLEST) ** torch.rand(count, generator=generator, device=device)
    # A little everywhere, for images whose mask is empty.
    covered = F.interpolate(mask.float(), size=(_CELLS, _CELLS), mode="area").flatten(1) + 1e-6
    # What `multinomial` does, which on a GPU waits to look whether weights are valid.
    cell = (covered / torch.empty_like(covered).exponential_(generator=generator)).argmax(dim=1, keepdim=True)
    place = torch.cat([cell % _CELLS, cell // _CELLS], dim=1)
    centre = 2 * (place + torch.rand((count, 2), generator=generator, device=device)) / _CELLS - 1
    height, width = images.shape[-2:]
    # Where normalised images came from, rounding leaves a pixel just outside.
    return show_pieces(images.float(), centre, side, (height, width), generator).clamp(0, 1)

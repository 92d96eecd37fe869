"""Put objects before other backgrounds: x ⊙ m̂ + b̂ ⊙ (1 − m̂) in the model's own space (paper, equation 3)."""

from dataclasses import dataclass, fields, replace
from typing import SupportsIndex

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from advbg.appearance import draw_lighting, draw_placement, has_foreground, move_objects, relight
from advbg.copies import draw_copies, show_copies
from advbg.masks.resolution import enlarge, reduce_to_mask_size, reduced_size
from advbg.options import Options
from advbg.pixel_space import PixelSpace

# Of the masks that are enlarged to their images.
_HARD_SHARE = 0.5


@dataclass(frozen=True)
class CompositeParameters:
    """Everything that was drawn to composite one batch; the same parameters make the same composites again.

    Indexing (`parameters[indices]`) takes the draws of some of the images, as a mini-batch of a rollout needs.

    Attributes:
        backgrounds: pixels in [0, 1], float32.
        composited: which images get their background; the others stay clean.
        halo: by how many pixels of the mask each mask is widened before compositing.
        placement: size and place of each object, as `move_objects` takes them; None where all stay where they are.
        lighting: of each composite, as `relight` takes it; None where all stay in their light.
        hard: which masks get hard edges when they are enlarged; None where none does: where images are as small as
            masks, or the option `halo` is 0.
        copies: of each object, as `show_copies` takes them; None where all are single.
    """

    backgrounds: Float[Tensor, "batch channel height width"]
    composited: Bool[Tensor, "batch"]
    halo: Int[Tensor, "batch"]
    placement: Float[Tensor, "batch 3"] | None = None
    lighting: Float[Tensor, "batch light"] | None = None
    hard: Bool[Tensor, "batch"] | None = None
    copies: Float[Tensor, "batch draws"] | None = None

    def __getitem__(self, indices: slice | Tensor | list[int]) -> "CompositeParameters":
        if isinstance(indices, SupportsIndex) and not isinstance(indices, Tensor):
            raise TypeError(f"draws are of batches: for one image, index with [{indices!r}] or a slice")
        draws = {field.name: getattr(self, field.name) for field in fields(self)}
        return CompositeParameters(**{name: draw[indices] for name, draw in draws.items() if draw is not None})

    def detach(self) -> "CompositeParameters":
        """The same draws, cut from the graph that made the backgrounds."""
        return replace(self, backgrounds=self.backgrounds.detach())


def check_parameters(params: object, images: Tensor) -> None:
    """Check that draws to replay are of a batch like this one.

    Args:
        params: should be `CompositeParameters`.
        images: the model's input.

    Raises:
        TypeError: where `params` are something else.
        ValueError: where they were drawn for other numbers of images, channels or pixels.
    """
    if not isinstance(params, CompositeParameters):
        raise TypeError(f"`params` (a {type(params).__name__}) must be from `generate_parameters`")
    if params.backgrounds.shape != images.shape:
        raise ValueError(
            f"`params` were drawn for images of shape {tuple(params.backgrounds.shape)}, but `images` have shape "
            f"{tuple(images.shape)}: replay draws on their own batch; of some of its images, `params[indices]`"
        )


def draw_parameters(
    backgrounds: Float[Tensor, "batch channel height width"],
    options: Options,
    largest_halo: int,
    generator: torch.Generator,
) -> CompositeParameters:
    """Draw everything else beside the backgrounds.

    Args:
        backgrounds: pixels in [0, 1].
        options: how much of what to draw; nothing is drawn for a `placement`, `copies` or `lighting` of 0, nor edges
            for a `halo` of 0.
        largest_halo: in pixels of the mask.
        generator: on the backgrounds' device.
    """
    count, channels, device = *backgrounds.shape[:2], backgrounds.device
    composited = torch.rand(count, generator=generator, device=device) >= options.clean_share
    halo = torch.randint(largest_halo + 1, (count,), generator=generator, device=device)
    copies = draw_copies(composited, options.copies, generator) if options.copies else None
    single = composited if copies is None else composited & (copies[:, 0] == 0)
    placement = draw_placement(single, options.placement, generator) if options.placement else None
    lighting = draw_lighting(composited, channels, options.lighting, generator) if options.lighting else None
    enlarged = reduced_size(backgrounds) != backgrounds.shape[-2:]
    hard = torch.rand(count, generator=generator, device=device) < _HARD_SHARE if options.halo and enlarged else None
    return CompositeParameters(backgrounds, composited, halo, placement, lighting, hard, copies)


def widen(
    mask: Float[Tensor, "batch 1 height width"],
    halo: Int[Tensor, "batch"],
    largest: int,
) -> Float[Tensor, "batch 1 height width"]:
    """Dilate each mask by its own number of pixels.

    A cut-out's margin varies, so a model should not take its width for a cue.

    Args:
        mask: foreground in [0, 1].
        halo: pixels, from 0 to `largest`.
        largest: the largest value in `halo`; the work grows with it.

    Returns:
        The masks dilated by squares of side `2 * halo + 1`.
    """
    widened = mask
    for radius in range(1, largest + 1):
        mask = F.max_pool2d(mask, 3, stride=1, padding=1)
        widened = torch.where((halo >= radius)[:, None, None, None], mask, widened)
    return widened


def cut_out(
    params: CompositeParameters, mask: Float[Tensor, "batch 1 rows columns"], size: torch.Size, largest_halo: int
) -> Float[Tensor, "batch 1 height width"]:
    """Make the masks that objects are cut out by: widened by their halos, at the images' size.

    Enlarging makes all edges soft; some of them become hard again, since what a model is tested on has both. Masks
    with values between 0 and 1 stay as soft as they are.

    Args:
        params: what was drawn for these images.
        mask: foreground in [0, 1], at the images' size or as small as masks are made.
        size: height and width of the images.
        largest_halo: the largest value in `params.halo`.

    Returns:
        Masks in [0, 1]. A given mask of large images keeps its own edges where it is not widened.
    """
    reduced = reduce_to_mask_size(mask)
    hard = torch.zeros_like(params.composited) if params.hard is None else params.hard & _is_binary(mask)
    hard = hard[:, None, None, None]
    # What is thinner than a pixel of the small mask has its halo as well.
    small = torch.where(hard, (reduced > 0).to(reduced.dtype), reduced)
    wide = enlarge(widen(small, params.halo, largest_halo), size)
    wide = torch.where(hard, (wide > 0.5).to(wide.dtype), wide)
    if reduced is mask:
        return wide
    return torch.where((params.halo > 0)[:, None, None, None], torch.maximum(wide, mask), mask)


def _is_binary(mask: Float[Tensor, "batch 1 rows columns"]) -> Bool[Tensor, "batch"]:
    return torch.amax(torch.minimum(mask, 1 - mask), dim=(1, 2, 3)) == 0


def composite(
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    backgrounds: Float[Tensor, "batch channel height width"],
    composited: Bool[Tensor, "batch"],
    pixel_space: PixelSpace,
) -> Float[Tensor, "batch channel height width"]:
    """Replace what is behind the objects.

    Args:
        images: the model's input, normalised as `pixel_space` says, any float dtype and memory layout.
        mask: foreground in [0, 1]; values between mix the two.
        backgrounds: pixels in [0, 1].
        composited: which images to change. An image whose mask is empty stays as it is: nothing of its object
            would be left.
        pixel_space: the normalisation of `images`.

    Returns:
        Composites of the images' shape, dtype and memory layout.
    """
    behind = pixel_space.from_pixels(backgrounds).to(images.dtype)
    weight = mask.to(images.dtype)
    # The image term comes first: the sum takes the memory layout of its first operand.
    mixed = images * weight + behind * (1 - weight)
    return torch.where((composited & has_foreground(mask))[:, None, None, None], mixed, images)


def composite_with(
    params: CompositeParameters,
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    pixel_space: PixelSpace,
) -> Float[Tensor, "batch channel height width"]:
    """Put objects before their backgrounds, at their places, as often as they are shown, and in their light.

    Args:
        params: what was drawn for these images.
        images: the model's input.
        mask: foreground in [0, 1].
        pixel_space: the normalisation of `images`.

    Returns:
        Composites of the images' shape, dtype and memory layout.
    """
    if params.copies is not None:
        images, mask = show_copies(images, mask, params.copies)
    if params.placement is not None:
        images, mask = move_objects(images, mask, params.placement)
    composites = composite(images, mask, params.backgrounds, params.composited, pixel_space)
    if params.lighting is not None:
        composites = relight(composites, torch.where(has_foreground(mask)[:, None], params.lighting, 1.0), pixel_space)
    return composites

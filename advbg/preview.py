"""What trained companions make of images: for figures, loggers and `advbg preview`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds import sample_backgrounds
from advbg.backgrounds.naming import Background, check_background, named_background
from advbg.clutter import show_other_objects
from advbg.companions import Companions
from advbg.companions_state import saved_schedule
from advbg.compositing import composite
from advbg.full_precision import in_full_precision
from advbg.masks import check_mask
from advbg.masks.learning import check_learned
from advbg.masks.resolution import enlarge
from advbg.options import Options
from advbg.pixel_space import PixelSpace


@dataclass(frozen=True)
class Preview:
    """Images and what became of them, all in [0, 1].

    Attributes:
        images: pixels.
        masks: the mask generator's output, or the masks that were given.
        binarized: the same, binarised; given ones as they are.
        composites: pixels of the objects before backgrounds of the source.
    """

    images: Float[Tensor, "batch channel height width"]
    masks: Float[Tensor, "batch 1 height width"]
    binarized: Float[Tensor, "batch 1 height width"]
    composites: Float[Tensor, "batch channel height width"]


@torch.no_grad()
@in_full_precision
def preview(
    companions: Companions,
    images: Float[Tensor, "batch channel height width"],
    *,
    mask: Tensor | None = None,
    seed: int = 0,
) -> Preview:
    """Mask and composite images without touching the companions' own random stream.

    Args:
        companions: trained, or on the way.
        images: normalised as the model's input is.
        mask: the foreground where it is known, as for `AdversarialBackground.forward`.
        seed: of the backgrounds.

    Returns:
        Every image composited, its object shown once, without a halo, as large and in the light as it is.

    Raises:
        TypeError: where `images`, `mask` or what the source makes is no tensor.
        ValueError: where `images` or `mask` cannot be used, or no mask is given and the library's own mask generator
            has learned nothing, as where masks came with the images of the training.
    """
    companions.build(images)
    if mask is None:
        check_learned(companions.options.mask_generator, companions.mask_optimizer)
        soft = companions.soft_mask(images)
        binarized = companions.binarize(soft)
    else:
        soft = binarized = check_mask(mask, images)
    size = images.shape[-2:]
    soft, binarized = enlarge(soft, size), enlarge(binarized, size)
    generator = torch.Generator(images.device).manual_seed(seed)
    count, channels, height, width = images.shape
    backgrounds = sample_backgrounds(companions.source, count, (channels, height, width), generator)
    everything = torch.ones(count, dtype=torch.bool, device=images.device)
    space = companions.pixel_space
    backgrounds = show_other_objects(backgrounds, space.to_pixels(images), binarized, companions.options, generator)
    composites = space.to_pixels(composite(images, binarized, backgrounds, everything, space))
    return Preview(space.to_pixels(images), soft, binarized, composites)


def rebuild(state: Mapping[str, Any], background: Background | None = None) -> Companions:
    """Make companions again from what `companions.state_dict()` saved.

    Args:
        state: the saved state.
        background: what they were trained against, where the state cannot say it all, as of photographs, whose folder
            may be elsewhere now.

    Raises:
        RuntimeError: where the state is of something else, does not fit its own description, or was saved with another
            kind of `background`.
        ValueError: where a part was not one of the library's own, so that it must be passed or only its author can
            rebuild it, or the state was saved before the first batch.
    """
    extra = state.get("_extra_state") if isinstance(state, Mapping) else None
    if not isinstance(extra, Mapping) or "options" not in extra:
        raise RuntimeError("not a state of companions: it has no `_extra_state`")
    if extra["image_shape"] is None:
        raise ValueError("these companions were saved before their first batch: there is nothing in them yet")
    space = PixelSpace(tuple(extra["mean"]), tuple(extra["std"]), "saved state")
    if background is None:
        saved = extra["options"]["background"]
        background = named_background(saved)
        try:
            check_background(background)
        except ValueError as error:
            raise ValueError(
                f"`background` (={saved!r}) of these companions is not all of the library's own: pass what it was, "
                "such as a folder of photographs"
            ) from error
    options = extra["options"] | {"background": background, "schedule": saved_schedule(extra)}
    companions = Companions(space, Options(**options), torch.device("cpu"))
    companions.load_state_dict(state)
    return companions

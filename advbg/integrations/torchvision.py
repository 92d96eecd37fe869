"""A new background in torchvision's v2 pipelines."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from advbg.integrations.replacement import (
    Background,
    as_foreground,
    as_source,
    check_pixels,
    check_probability,
    draw_backgrounds,
    replace_background,
)


class ReplaceBackground(v2.Transform):
    """Put the object, which the sample's `tv_tensors.Mask` marks, before another background.

    Only the sample's `tv_tensors.Image` changes. Put it after `v2.ToImage` and before `v2.Normalize`. An image whose
    mask is empty stays as it is: nothing of its object would be left. Draws come from torch's global random stream,
    as those of all of torchvision's transforms.

    Args:
        background: a name, a folder of photographs, an exported generator, a picture or a `BackgroundSource`: see
            `advbg.integrations.replacement.as_source`.
        p: probability of each image's getting another background.

    Shapes:
        image: (channel, height, width) with a mask of shape (height, width) or (object, height, width), whose objects
            are all foreground; or (batch, channel, height, width) with a mask of shape (batch, height, width) or
            (batch, 1, height, width). Images are uint8 or float in [0, 1]; masks are bool, float in [0, 1] for soft
            edges, or integers that are 0 outside and all 1 or all 255 inside.

    Raises:
        FileNotFoundError: where `background` names nothing that is there.
        TypeError: where `background` is no source.
        ValueError: where `p` is no probability, or a sample has not exactly one image and one mask that fits it.
    """

    _transformed_types = (tv_tensors.Image, tv_tensors.Mask)

    def __init__(self, background: Background, p: float = 0.5) -> None:
        check_probability(p)
        super().__init__()
        self.background, self.p = background, p
        self.source = as_source(background)

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """See that there is an image with its mask."""
        for kind, advice in (
            (tv_tensors.Mask, "wrap the foreground as `tv_tensors.Mask(mask)`"),
            (tv_tensors.Image, "put `v2.ToImage()` before ReplaceBackground, or wrap the image as `tv_tensors.Image`"),
        ):
            found = sum(isinstance(value, kind) for value in flat_inputs)
            if found != 1:
                raise ValueError(
                    f"ReplaceBackground needs one `tv_tensors.{kind.__name__}` in each sample, got {found}: {advice}"
                )

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw backgrounds, and which images get theirs."""
        image = next(value for value in flat_inputs if isinstance(value, tv_tensors.Image)).as_subclass(Tensor)
        mask = next(value for value in flat_inputs if isinstance(value, tv_tensors.Mask)).as_subclass(Tensor)
        check_pixels(image)
        foreground = _foreground(mask, image)
        count, channels, height, width = _batch(image).shape
        replaced = torch.rand(count) < self.p
        seed = int(torch.randint(2**63 - 1, ()))
        backgrounds = torch.zeros(count, channels, height, width, device=image.device)
        if replaced.any():
            shape = (channels, height, width)
            backgrounds[replaced] = draw_backgrounds(self.source, int(replaced.sum()), shape, seed, image.device)
        return {"foreground": foreground, "backgrounds": backgrounds, "replaced": replaced.to(image.device)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Change the image; the mask stays as it is."""
        if isinstance(inpt, tv_tensors.Mask):
            return inpt
        image = inpt.as_subclass(Tensor)
        changed = replace_background(_batch(image), params["foreground"], params["backgrounds"], params["replaced"])
        return tv_tensors.Image(changed.reshape(image.shape))


def _batch(image: Tensor) -> Tensor:
    """A single image as a batch of one."""
    if image.ndim not in (3, 4):
        raise ValueError(
            f"`image` has shape {tuple(image.shape)}, expected (channel, height, width) or "
            "(batch, channel, height, width)"
        )
    return image if image.ndim == 4 else image[None]


def _foreground(mask: Tensor, image: Tensor) -> Float[Tensor, "batch 1 height width"]:
    """The mask's weights; all the objects of a single image are foreground."""
    images = _batch(image)
    if image.ndim == 4:
        return as_foreground(mask, images)
    objects = mask if mask.ndim == 3 else mask[None]
    nothing = objects.new_zeros((1, *objects.shape[1:]))  # where there is no object
    return as_foreground(torch.cat([nothing, objects]).amax(dim=0, keepdim=True), images)

"""Put objects before other backgrounds: x ⊙ m̂ + b̂ ⊙ (1 − m̂) in the model's own space (paper, equation 3)."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from advbg.pixel_space import PixelSpace


@dataclass(frozen=True)
class CompositeParameters:
    """Everything that was drawn to composite one batch; the same parameters make the same composites again.

    Indexing (`parameters[indices]`) takes the draws of some of the images, as a mini-batch of a rollout needs.

    Attributes:
        backgrounds: pixels in [0, 1], float32.
        composited: which images get their background; the others stay clean.
        halo: by how many pixels of the mask each mask is widened before compositing.
    """

    backgrounds: Float[Tensor, "batch channel height width"]
    composited: Bool[Tensor, "batch"]
    halo: Int[Tensor, "batch"]

    def __getitem__(self, indices: slice | Tensor | list[int]) -> "CompositeParameters":
        return CompositeParameters(**{field.name: getattr(self, field.name)[indices] for field in fields(self)})

    def detach(self) -> "CompositeParameters":
        """The same draws, cut from the graph that made the backgrounds."""
        return CompositeParameters(self.backgrounds.detach(), self.composited, self.halo)


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
    found = composited & mask.flatten(1).any(dim=1)
    return torch.where(found[:, None, None, None], mixed, images)

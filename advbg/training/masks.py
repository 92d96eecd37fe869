"""Masks for short trainings: a guess from colours, and a cheap objective that goes on from there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from scipy import ndimage
from torch import Tensor, nn

from advbg.attachment import device_of
from advbg.companions import Companions
from advbg.masks import MaskObjective, SufficiencyNecessity, UNet, binarize
from advbg.masks.objectives import Model, output_distance
from advbg.masks.resolution import reduce_to_mask_size
from advbg.masks.studio import studio_difference
from advbg.optimization import evaluating

_FIRST_STEPS = 160
_FIRST_BATCH = 8

# Of the first guess, and of the mask phase, where the library's 1e-3 would leave what it has taught.
_FIRST_LEARNING_RATE, _LEARNING_RATE = 3e-3, 3e-4


@dataclass(frozen=True)
class GuidedObjective:
    """Rates masks on images of 64 pixels, the size at which masks are made: a quarter of the cost at 128 pixels.

    Models that cannot be called on so small images rate masks on whole ones.

    A model that has hardly learned says little about where objects are, so masks are also held to the guess from
    colours, in each image as much as its border is of one colour.

    Args:
        objective: what rates them there.
        guess_weight: of the cross-entropy with the guess.
        shrinks: whether the model takes images of that size, as `takes_small_images` says.
    """

    objective: MaskObjective = field(default_factory=lambda: SufficiencyNecessity(distance=output_distance))
    guess_weight: float = 3.0
    shrinks: bool = True

    def __call__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        targets: Any | None = None,
    ) -> Float[Tensor, ""]:
        """Rate masks; arguments as for any `MaskObjective`."""
        small_images, small_mask = reduce_to_mask_size(images), reduce_to_mask_size(mask)
        guess = guess_silhouettes(small_images)
        with torch.autocast(images.device.type, enabled=False):
            apart = F.binary_cross_entropy(small_mask.float(), guess, reduction="none").mean(dim=(1, 2, 3))
        if self.shrinks:
            images, mask = small_images, small_mask
        return self.objective(model, images, mask, targets) + self.guess_weight * (plainness(guess) * apart).mean()


def plainness(guess: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch"]:
    """How far a guess can be trusted: the share of the image's border that it takes for background, in [0, 1]."""
    border = torch.cat([guess[..., 0, :], guess[..., -1, :], guess[..., :, 0], guess[..., :, -1]], dim=-1)
    return 1 - border.mean(dim=(1, 2))


@torch.no_grad()
def takes_small_images(model: nn.Module, images: UInt8[Tensor, "count channel height width"]) -> bool:
    """Whether a model can be called on images as small as masks: not one made for one size, or that halves too often.

    Args:
        model: left as it is.
        images: that it is made for.
    """
    small = reduce_to_mask_size(torch.zeros_like(images[:1], dtype=torch.float32, device=device_of(model)))
    try:
        with evaluating(model):
            model(small)
    except Exception:  # whatever its layers raise
        return False
    return True


def quick_masks(options: Mapping[str, Any], *, shrinks: bool = True) -> dict[str, Any]:
    """Options of `AdversarialBackground` that learn masks in few steps, where they name no others.

    Args:
        options: the others.
        shrinks: as for `GuidedObjective`.
    """
    return {"mask_generator": "studio", "mask_objective": GuidedObjective(shrinks=shrinks), **options}


def guess_silhouettes(
    pixels: Float[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """Where an image differs from the colour of its border, by Otsu's threshold; holes are filled.

    Args:
        pixels: images in [0, 1], or normalised.

    Returns:
        Zeros and ones. A guess: it is good before plain backgrounds, and poor before others.
    """
    difference = studio_difference(pixels)
    # In a flat image Otsu's threshold would tell rounding from rounding.
    objects = difference.amax(dim=(1, 2, 3), keepdim=True) > 0.5
    binary = (binarize(difference, "otsu") * objects).cpu().numpy()
    filled = np.stack([np.asarray(ndimage.binary_fill_holes(image[0] > 0.5), dtype=np.float32) for image in binary])
    return torch.from_numpy(filled)[:, None].to(pixels)


def teach_first_guess(companions: Companions, images: UInt8[Tensor, "count channel height width"], seed: int) -> None:
    """Teach one of the library's U-Nets silhouettes guessed from colours, before the model has a say in its masks.

    From random weights, masks take hundreds of steps of the mask phase, which a fine-tuning has not got. Other mask
    generators than the library's `UNet` are left as they are.

    Args:
        companions: before their first step.
        images: on the CPU.
        seed: of the choice of images.
    """
    generator = torch.Generator().manual_seed(seed)
    space, device = companions.pixel_space, companions.device
    companions.build(space.from_pixels(images[:1].to(device) / 255))
    unet = companions.mask_generator
    if not isinstance(unet, UNet) or companions.mask_optimizer is None:
        return
    # One of its own, so that the mask phase begins with a fresh one.
    optimizer = torch.optim.Adam(unet.parameters(), lr=_FIRST_LEARNING_RATE, fused=True)
    for _ in range(_FIRST_STEPS):
        chosen = torch.randint(len(images), (min(_FIRST_BATCH, len(images)),), generator=generator)
        pixels = reduce_to_mask_size(images[chosen].to(device) / 255)
        F.binary_cross_entropy(unet(pixels), guess_silhouettes(pixels)).backward()
        optimizer.step()
        optimizer.zero_grad()
    for group in companions.mask_optimizer.param_groups:
        group["lr"] = _LEARNING_RATE

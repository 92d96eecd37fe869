"""Masks for short trainings: learned in few steps, each at little cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from advbg.masks import MaskObjective, SufficiencyNecessity
from advbg.masks.objectives import Model, output_distance

# In pixels, of the longer side: that of the masks themselves.
_LARGEST_SIDE = 64


@dataclass(frozen=True)
class ReducedObjective:
    """Rates masks on images of 64 pixels, the size at which masks are made: a quarter of the cost at 128 pixels.

    Args:
        objective: what rates them there.
    """

    objective: MaskObjective = field(default_factory=lambda: SufficiencyNecessity(distance=output_distance))

    def __call__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        targets: Any | None = None,
    ) -> Float[Tensor, ""]:
        """Rate masks; arguments as for any `MaskObjective`."""
        shrink = max(images.shape[-2:]) / _LARGEST_SIDE
        if shrink > 1:
            size = [round(side / shrink) for side in images.shape[-2:]]
            images, mask = (F.interpolate(tensor, size=size, mode="area") for tensor in (images, mask))
        return self.objective(model, images, mask, targets)


def quick_masks(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of `AdversarialBackground` with the objective above, where they name no other."""
    return {"mask_objective": ReducedObjective(), **options}

"""What makes a mask good: it keeps the answer, and nothing of the answer is left outside of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import kornia
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from advbg.masks.studio import studio_color
from advbg.numbers import is_number

Model = Callable[[Tensor], Any]

# From outputs, what was expected, something else and the number of images to a scalar.
Distance = Callable[[Any, Any, Any, int], Tensor]


@runtime_checkable
class MaskObjective(Protocol):
    """A loss for the mask generator."""

    def __call__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        targets: Any | None,
    ) -> Float[Tensor, ""]:
        """Rate masks; lower is better.

        Args:
            model: the model in evaluation mode; no gradient reaches its parameters.
            images: the model's input.
            mask: foreground in [0, 1], from the mask generator.
            targets: what the wrapper was given as `targets`, or None.
        """
        ...


@dataclass(frozen=True)
class SufficiencyNecessity:
    """The default: the smallest mask that keeps the model's response and leaves none of it outside.

    Let `x` be an image, `c` its studio colour (the median of its outermost pixels) and `m` its mask. The object alone,
    `x m + c (1 - m)`, must get the response of the whole image (sufficiency); the scene without it,
    `x (1 - m) + c m`, the response of the empty studio (necessity). Both are distances between outputs in units of
    the distance between the image's and the empty studio's, so that no weight depends on the data set, the number of
    classes or the kind of output; the object's area follows from the data.

    Args:
        area: weight of the mask's mean, 0 or more.
        smoothness: weight of its total variation, 0 or more (0.1 in the paper).
        distance: between outputs, as `output_distance` is; by default that of the wrapper's task.

    Raises:
        ValueError: where a weight is negative or no number.
    """

    area: float = 1.0
    smoothness: float = 0.1
    distance: Distance | None = None

    def __post_init__(self) -> None:
        _check_weights(area=self.area, smoothness=self.smoothness)

    def __call__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        targets: Any | None = None,
    ) -> Float[Tensor, ""]:
        """Rate masks; `targets` are not needed."""
        mask_there = mask.to(images.dtype)
        studio = studio_color(images)
        with torch.no_grad():
            whole = model(images)
            empty = model(studio.expand_as(images))
        kept = model(images * mask_there + studio * (1 - mask_there))
        left = model(images * (1 - mask_there) + studio * mask_there)
        distance = self.distance or output_distance
        sufficiency = distance(kept, whole, empty, len(images))
        necessity = distance(left, empty, whole, len(images))
        penalties = self.area * mask.mean() + self.smoothness * mean_total_variation(mask)
        return sufficiency + necessity + penalties


@dataclass(frozen=True)
class PaperObjective:
    """The paper's: the loss on the masked image, a hinge on the area, total variation (section III-B).

    Args:
        area: share of the pixels that the hinge leaves free, in (0, 1).
        smoothness: weight of the total variation, 0 or more.
        criterion: `criterion(outputs, targets)`, used where the wrapper is given targets. Without targets, the
            outputs are compared with those of the whole image.

    Raises:
        ValueError: where `area` is out of range, or `smoothness` negative or no number.
    """

    area: float = 0.2
    smoothness: float = 0.1
    criterion: Callable[[Any, Any], Tensor] = F.cross_entropy

    def __post_init__(self) -> None:
        if not is_number(self.area) or not 0 < float(self.area) < 1:
            raise ValueError(f"`area` (={self.area!r}) must be a share in (0, 1)")
        _check_weights(smoothness=self.smoothness)

    def __call__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        targets: Any | None = None,
    ) -> Float[Tensor, ""]:
        """Rate masks, by the targets where there are some."""
        outputs = model(images * mask.to(images.dtype))
        if targets is not None:
            loss = self.criterion(outputs, targets)
        else:
            with torch.no_grad():
                whole = model(images)
            expected = output_tensors(whole, len(images))
            zeros = [torch.zeros_like(tensor) for tensor in expected]
            loss = relative_distance(output_tensors(outputs, len(images)), expected, zeros)
        hinge = F.relu(mask.mean(dim=(1, 2, 3)) - self.area).mean()
        return loss + hinge + self.smoothness * mean_total_variation(mask)


def _check_weights(**weights: float) -> None:
    for name, weight in weights.items():
        if not is_number(weight) or not 0 <= float(weight) < math.inf:
            raise ValueError(f"`{name}` (={weight!r}) must be a weight of 0 or more")


def mean_total_variation(mask: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, ""]:
    """The mean absolute step between neighbours, over rows plus over columns."""
    return kornia.losses.total_variation(mask, reduction="mean").mean()


def output_tensors(outputs: Any, batch_size: int) -> list[Float[Tensor, "batch features"]]:
    """Find what can be compared in a model's outputs: floating tensors with one entry for each image.

    Args:
        outputs: a tensor, or tensors in tuples, lists and mappings (such as a `ModelOutput`).
        batch_size: number of images.

    Returns:
        The tensors in float32, flattened after the batch dimension.

    Raises:
        TypeError: where there is none.
    """
    found = [
        tensor.flatten(1).float() if tensor.ndim > 1 else tensor[:, None].float()
        for tensor in _tensors(outputs)
        if tensor.is_floating_point() and tensor.ndim > 0 and len(tensor) == batch_size
    ]
    if not found:
        raise TypeError(
            f"the model returned {type(outputs).__name__} without a floating tensor of {batch_size} rows, by "
            "which masks and backgrounds are rated: pass `mask=` or another `mask_objective`, and no `candidates`"
        )
    return found


def output_distance(outputs: Any, expected: Any, other: Any, batch_size: int) -> Float[Tensor, ""]:
    """The relative distance of whatever models return; arguments as for `relative_distance` and `output_tensors`."""
    return relative_distance(*(output_tensors(part, batch_size) for part in (outputs, expected, other)))


def relative_distance(outputs: list[Tensor], expected: list[Tensor], other: list[Tensor]) -> Float[Tensor, ""]:
    """How far outputs are from what was expected, in units of how far that is from something else.

    Args:
        outputs: tensors of shape (batch, features), one for each output of the model.
        expected: likewise.
        other: likewise; the distance between `expected` and `other` is the unit.

    Returns:
        The mean over the outputs of the ratio of the batch's mean Euclidean distances.
    """
    ratios = []
    for output, goal, elsewhere in zip(outputs, expected, other, strict=True):
        distance = torch.linalg.vector_norm(output - goal, dim=1).mean()
        unit = torch.linalg.vector_norm(goal - elsewhere, dim=1).mean()
        # A model that answers everything alike has unit 0 and every mask at distance 0.
        ratios.append(distance / unit.clamp_min(torch.finfo(unit.dtype).tiny))
    return torch.stack(ratios).mean()


def _tensors(outputs: Any) -> list[Tensor]:
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, Sequence) and not isinstance(outputs, str):
        return [tensor for output in outputs for tensor in _tensors(output)]
    return []

"""Regression: numbers that must not depend on the background."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._pytree import tree_leaves

from advbg.hooks import hookimpl
from advbg.masks.objectives import output_tensors


class Regression:
    """Each number is compared in units of its spread over the batch, so that millimetres and degrees weigh alike.

    Targets stay as they are; maps as large as the images, such as depth, are refused, since they change with the
    background. A training that says `wrapper(images, targets=targets)` has that checked with its first batch.
    """

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return ("regression",)

    @hookimpl
    def advbg_foreground(self, task: str, images: Float[Tensor, "batch channel height width"], targets: Any) -> None:
        """Find no foreground, but refuse targets that depend on the background."""
        if task != "regression":
            return
        for part in tree_leaves(targets):
            # A square of two dimensions may also be as many numbers for as many images.
            if isinstance(part, Tensor) and part.ndim > 2 and part.shape[-2:] == images.shape[-2:]:
                raise ValueError(
                    f"`targets` of shape {tuple(part.shape)} are as large as `images` of shape {tuple(images.shape)}: "
                    "such a map changes with the background, and nobody knows how; write a plugin whose "
                    "`advbg_targets` says it, under a task of its own"
                )

    @hookimpl
    def advbg_distance(
        self, task: str, outputs: Any, expected: Any, other: Any, batch_size: int
    ) -> Float[Tensor, ""] | None:
        """The mean over images and outputs of the error, each number in its own unit."""
        if task != "regression":
            return None
        parts = (output_tensors(part, batch_size) for part in (outputs, expected, other))
        errors = [
            torch.linalg.vector_norm((output - goal) / _units(goal, elsewhere), dim=1).mean() * goal.shape[1] ** -0.5
            for output, goal, elsewhere in zip(*parts, strict=True)
        ]
        return torch.stack(errors).mean()

    @hookimpl
    def advbg_hardness(
        self, task: str, outputs: Any, expected: Callable[[], Any], batch_size: int
    ) -> Float[Tensor, "batch"] | None:
        """The mean over outputs of how far each image's numbers went, each in units of its spread over the batch."""
        if task != "regression":
            return None
        parts = (output_tensors(part, batch_size) for part in (outputs, expected()))
        errors = [
            torch.linalg.vector_norm((output - goal) / _spread(goal), dim=1) * goal.shape[1] ** -0.5
            for output, goal in zip(*parts, strict=True)
        ]
        return torch.stack(errors).mean(dim=0)


def _spread(expected: Float[Tensor, "batch features"]) -> Float[Tensor, "features"]:
    """The standard deviation over the images; 1 where they are all alike, as a single one is."""
    spread = expected.std(dim=0, correction=0)
    return torch.where(spread > 1e-5 * expected.abs().amax(dim=0), spread, 1.0)


def _units(
    expected: Float[Tensor, "batch features"], other: Float[Tensor, "batch features"]
) -> Float[Tensor, "features"]:
    """The spread of what is expected over the images; where `other` varies more, the distance between the two.

    The answers to whole images vary, those to empty studios hardly do: an error in the former is measured by how far
    images are apart, a rest in the latter by how much there was to remove.
    """
    spread, spread_of_other = (part.std(dim=0, correction=0) for part in (expected, other))
    gap = (expected - other).abs().mean(dim=0)
    unit = torch.where((spread > 0) & (spread >= spread_of_other), spread, gap)
    # Rounding makes the outputs of a model that answers everything alike vary a little.
    floor = 1e-5 * expected.abs().amax(dim=0)
    return torch.maximum(unit, floor).clamp_min(torch.finfo(unit.dtype).tiny)

"""Classification: the default task."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from advbg.hooks import hookimpl
from advbg.masks.objectives import output_distance, output_tensors


class Classification:
    """Targets say nothing about where the object is, and stay as they are; outputs are compared as a whole."""

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return ("classification",)

    @hookimpl(trylast=True)
    def advbg_distance(self, outputs: Any, expected: Any, other: Any, batch_size: int) -> Float[Tensor, ""]:
        """The measure of every task whose plugin has none of its own."""
        return output_distance(outputs, expected, other, batch_size)

    @hookimpl(trylast=True)
    def advbg_harm(
        self, task: str, outputs: Any, expected: Callable[[], Any], targets: Any, batch_size: int
    ) -> Float[Tensor, "batch"]:
        """Cross-entropy with classes where they are known, else with the answer to the image as it is.

        Outputs of other tasks, and single numbers, are as bad as they are far from that answer, in units of how far
        these answers are apart.
        """
        found = output_tensors(outputs, batch_size)
        logits = task == "classification" and found[0].shape[1] > 1
        if logits and len(found) == 1 and _are_classes(targets, batch_size):
            return F.cross_entropy(found[0], targets, reduction="none")
        pairs = zip(found, output_tensors(expected(), batch_size), strict=True)
        return torch.stack([_apart(ours, wanted, logits=logits) for ours, wanted in pairs]).sum(dim=0)


def _apart(
    ours: Float[Tensor, "batch features"], wanted: Float[Tensor, "batch features"], *, logits: bool
) -> Float[Tensor, "batch"]:
    if logits:
        return F.cross_entropy(ours, wanted.softmax(dim=1), reduction="none")
    unit = torch.linalg.vector_norm(wanted.std(dim=0, correction=0))
    return torch.linalg.vector_norm(ours - wanted, dim=1) / torch.where(unit > 0, unit, 1.0)


def _are_classes(targets: Any, batch_size: int) -> bool:
    return isinstance(targets, Tensor) and targets.dtype == torch.int64 and targets.shape == (batch_size,)

"""Classification: the default task."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from advbg.hooks import hookimpl
from advbg.masks.objectives import output_distance, output_tensors
from advbg.warning import warn

# Of shares of classes that sum to 1.
_ROUNDING = 1e-3


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
    def advbg_hardness(
        self, task: str, outputs: Any, expected: Callable[[], Any], targets: Any, batch_size: int
    ) -> Float[Tensor, "batch"]:
        """The loss by the targets where these are such as a classifier's, else how far the answer has gone.

        Targets are class indices, shares of the classes or multi-label targets, one for each image where the logit is
        one, of any dtype; a class or label that is none, as one to ignore, says nothing. They count where the model
        has one output; others are warned of. Without them, logits are compared by the cross-entropy with the answer to
        the image as it is; outputs of other tasks, and single numbers, by the distance from it, in units of how far
        these answers are apart.
        """
        found = output_tensors(outputs, batch_size)
        if task == "classification" and len(found) == 1 and isinstance(targets, Tensor):
            loss = _loss(found[0], targets.to(found[0].device))
            if loss is not None:
                return loss
            warn(
                f"`targets` of shape {tuple(targets.shape)} and {targets.dtype} do not fit logits of shape "
                f"{tuple(found[0].shape)}: `candidates` are chosen by how far they take the model's answer instead"
            )
        pairs = zip(found, output_tensors(expected(), batch_size), strict=True)
        apart = [_apart(ours, wanted, logits=task == "classification" and ours.shape[1] > 1) for ours, wanted in pairs]
        return torch.stack(apart).sum(dim=0)


def _loss(logits: Float[Tensor, "batch classes"], targets: Tensor) -> Float[Tensor, "batch"] | None:
    count, classes = logits.shape
    if classes == 1 and targets.shape == (count,):
        targets = targets[:, None]
    elif classes > 1 and targets.shape == (count, 1):
        targets = targets[:, 0]
    if classes > 1 and targets.shape == (count,) and not targets.is_floating_point():
        known = (targets >= 0) & (targets < classes)
        return F.cross_entropy(logits, torch.where(known, targets.long(), -100), reduction="none")
    if targets.shape != logits.shape:
        return None
    targets = targets.to(logits.dtype)
    known = (targets >= 0) & (targets <= 1)
    labels = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    multi_label = torch.where(known, labels, 0.0).mean(dim=1)
    if classes == 1:
        return multi_label
    shares = (targets.sum(dim=1) - 1).abs() < _ROUNDING
    return torch.where(shares, F.cross_entropy(logits, targets, reduction="none"), multi_label)


def _apart(
    ours: Float[Tensor, "batch features"], wanted: Float[Tensor, "batch features"], *, logits: bool
) -> Float[Tensor, "batch"]:
    if logits:
        return F.cross_entropy(ours, wanted.softmax(dim=1), reduction="none")
    unit = torch.linalg.vector_norm(wanted.std(dim=0, correction=0))
    return torch.linalg.vector_norm(ours - wanted, dim=1) / torch.where(unit > 0, unit, 1.0)

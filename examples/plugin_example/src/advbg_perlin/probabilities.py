"""A task whose outputs are compared as probabilities: `AdversarialBackground(model, task="probabilities")`."""

from typing import Any

import torch
from torch import Tensor

from advbg import hookimpl

advbg_hook_version = 1


@hookimpl
def advbg_tasks() -> tuple[str, ...]:
    """The task of this plugin."""
    return ("probabilities",)


@hookimpl
def advbg_distance(task: str, outputs: Tensor, expected: Tensor, other: Tensor) -> Any:
    """How much of the probability lies with other classes, in units of what the whole image and the studio differ by.

    Logits of shape (batch, classes) can differ widely where probabilities do not; this measure sees only the latter.
    """
    if task != "probabilities":
        return None
    outputs, expected, other = (logits.float().softmax(dim=1) for logits in (outputs, expected, other))
    apart = (expected - other).abs().sum().clamp_min(torch.finfo(torch.float32).tiny)
    return (outputs - expected).abs().sum() / apart

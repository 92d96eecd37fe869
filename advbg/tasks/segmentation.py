"""Segmentation: the label map is the mask."""

from collections.abc import Sequence
from typing import Any, SupportsIndex

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from advbg.hooks import hookimpl


class Segmentation:
    """Every pixel with another label than the background's is foreground.

    Pixels to ignore count as foreground: nobody knows whether they are object or background, so they keep their pixels
    and their label. For label maps with other numbers, register one more under a name of its own:
    `plugin_manager.register(Segmentation("lesions", background=(3,), ignore=(-1,)))`.

    Args:
        task: what `AdversarialBackground(task=...)` calls it.
        background: labels of the background; the first is what a pixel gets whose background was replaced.
        ignore: labels of pixels that the loss passes over; -100 is the default of `cross_entropy`, 255 that of many
            data sets.

    Raises:
        TypeError: where labels are no whole numbers.
        ValueError: where there is no background label, or one is to be ignored.
    """

    def __init__(
        self, task: str = "segmentation", *, background: Sequence[int] = (0,), ignore: Sequence[int] = (-100, 255)
    ) -> None:
        for name, labels in (("background", background), ("ignore", ignore)):
            if not isinstance(labels, Sequence) or not all(isinstance(label, SupportsIndex) for label in labels):
                raise TypeError(f"`{name}` (={labels!r}) must be a sequence of labels, whole numbers")
        if not background or set(background) & set(ignore):
            raise ValueError(
                f"`background` (={tuple(background)}) must name a label or more, none of them in `ignore` "
                f"(={tuple(ignore)})"
            )
        self.task, self.background, self.ignore = task, tuple(background), tuple(ignore)

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return (self.task,)

    @hookimpl
    def advbg_foreground(
        self, task: str, images: Float[Tensor, "batch channel height width"], targets: Any
    ) -> Bool[Tensor, "batch 1 height width"] | None:
        """What is not background in the label map."""
        if task != self.task:
            return None
        labels = _label_maps(targets, images)
        return ~_is_any(labels, self.background).to(images.device)

    @hookimpl
    def advbg_targets(
        self,
        task: str,
        targets: Any,
        foreground: Float[Tensor, "batch 1 height width"],
        composited: Bool[Tensor, "batch"],
    ) -> Integer[Tensor, "batch *channel height width"] | None:
        """Pixels that were replaced, for the most part, are background, but those to ignore."""
        if task != self.task:
            return None
        labels = targets[:, None] if targets.ndim == 3 else targets
        if not torch.iinfo(labels.dtype).min <= self.background[0] <= torch.iinfo(labels.dtype).max:
            raise ValueError(
                f"`targets` of {labels.dtype} cannot hold the label {self.background[0]} of the background"
            )
        replaced = ((foreground < 0.5) & composited[:, None, None, None]).to(labels.device)
        replaced &= ~_is_any(labels, self.ignore)
        return torch.where(replaced, self.background[0], labels).reshape(targets.shape)


def _is_any(labels: Integer[Tensor, "*shape"], values: tuple[int, ...]) -> Bool[Tensor, "*shape"]:
    """Compared as 64-bit integers, since bytes have no -100."""
    found, labels = torch.zeros_like(labels, dtype=torch.bool), labels.long()
    for value in values:
        found |= labels == value
    return found


def _label_maps(
    targets: Any, images: Float[Tensor, "batch channel height width"]
) -> Integer[Tensor, "batch 1 height width"]:
    batch, _, height, width = images.shape
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dtype == torch.bool:
        found = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise ValueError(f"`targets` must be a tensor of whole-numbered labels, got {found}")
    if tuple(targets.shape) not in {(batch, height, width), (batch, 1, height, width)}:
        raise ValueError(
            f"`targets` has shape {tuple(targets.shape)}, but `images` of shape {tuple(images.shape)} need label maps "
            f"of shape {(batch, height, width)} or {(batch, 1, height, width)}"
        )
    return targets[:, None] if targets.ndim == 3 else targets

"""Images in memory to train on, checked before any work is done."""

from dataclasses import dataclass

import torch
from torch import Tensor

_COLORS = 3


@dataclass(frozen=True)
class TrainingData:
    """Images in memory, on the CPU.

    Attributes:
        images: to train on: uint8 of shape (count, 3, height, width), from 0 to 255.
        targets: indices of their classes, from 0: int64 of shape (count,).
        held_out_images: to choose the best epoch by, likewise and of the same size.
        held_out_targets: indices of their classes.
        silhouettes: where the objects of `images` are, if that is known: bool of shape (count, 1, height, width). Then
            no masks are learned.

    Raises:
        TypeError: where a field is no tensor.
        ValueError: where a field has another shape or dtype, or there are no images; the message names it.
    """

    images: Tensor
    targets: Tensor
    held_out_images: Tensor
    held_out_targets: Tensor
    silhouettes: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("images", "targets", "held_out_images", "held_out_targets", "silhouettes"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and (value is not None or name != "silhouettes"):
                raise TypeError(f"`{name}` (a {type(value).__name__}) must be a tensor")
        for name in ("images", "held_out_images"):
            images = getattr(self, name)
            if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != _COLORS or not len(images):
                raise ValueError(
                    f"`{name}` must be uint8 colours from 0 to 255 of shape (count, {_COLORS}, height, width), got "
                    f"{_described(images)}"
                )
        size = self.images.shape[-2:]
        if self.held_out_images.shape[-2:] != size:
            raise ValueError(
                f"`held_out_images` must be as large as `images` ({tuple(size)}), got "
                f"{_described(self.held_out_images)}"
            )
        self._check("targets", torch.int64, (len(self.images),))
        self._check("held_out_targets", torch.int64, (len(self.held_out_images),))
        if self.silhouettes is not None:
            self._check("silhouettes", torch.bool, (len(self.images), 1, *size))

    def count_copies(self) -> int:
        """How many of the held-out images are, pixel for pixel, among those that are trained on."""
        trained = {hash(image.numpy().tobytes()) for image in self.images}
        return sum(hash(image.numpy().tobytes()) in trained for image in self.held_out_images)

    def check_classes(self, classes: int) -> None:
        """Check that a model tells enough classes apart.

        Args:
            classes: how many logits it has.

        Raises:
            ValueError: where a target is none of them.
        """
        for name in ("targets", "held_out_targets"):
            if (largest := int(getattr(self, name).max())) >= classes:
                raise ValueError(f"`{name}` go up to {largest}, but the model has {classes} logits")

    def _check(self, name: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
        value = getattr(self, name)
        if value.dtype != dtype or tuple(value.shape) != shape:
            raise ValueError(f"`{name}` must be {dtype} of shape {shape}, got {_described(value)}")
        if dtype == torch.int64 and value.min() < 0:
            raise ValueError(f"`{name}` must be indices of classes from 0, got {value.min().item()}")


def _described(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}"

"""Detection: boxes are a rough foreground."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torchvision.ops import box_convert
from torchvision.tv_tensors import BoundingBoxes

from advbg.hooks import hookimpl


class Detection:
    """Whatever lies in a box is foreground; boxes and their labels stay as they are.

    Targets are what torchvision's detectors take: one mapping for each image, whose `boxes` has shape (count, 4), as
    (left, top, right, bottom) in pixels, or is a `tv_tensors.BoundingBoxes` of any upright format.
    """

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return ("detection",)

    @hookimpl
    def advbg_foreground(
        self, task: str, images: Float[Tensor, "batch channel height width"], targets: Any
    ) -> Bool[Tensor, "batch height width"] | None:
        """The union of the boxes of each image; every pixel that a box touches is in it."""
        if task != "detection":
            return None
        if not isinstance(targets, Sequence) or not all(
            isinstance(target, Mapping) and isinstance(target.get("boxes"), Tensor) for target in targets
        ):
            raise ValueError(
                "`targets` must be a list with a mapping for each image, each with a tensor `boxes`, got "
                f"{targets!r:.200}"
            )
        if len(targets) != len(images):
            raise ValueError(f"`targets` are of {len(targets)} images, but `images` has {len(images)}")
        size = (images.shape[-2], images.shape[-1])
        return torch.stack([_inside(target["boxes"], size) for target in targets]).to(images.device)


def _inside(boxes: Tensor, size: tuple[int, int]) -> Bool[Tensor, "height width"]:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"`boxes` in `targets` has shape {tuple(boxes.shape)}, expected (count, 4)")
    if isinstance(boxes, BoundingBoxes):
        boxes = box_convert(boxes.as_subclass(Tensor), boxes.format.value.lower(), "xyxy")
    boxes = boxes.double()
    left, top, right, bottom = boxes.unbind(dim=1)
    if not ((left <= right) & (top <= bottom)).all():
        raise ValueError(
            "`boxes` in `targets` must be (left, top, right, bottom) in pixels: one has a negative size, or no numbers"
        )
    if len(boxes) and (boxes <= 1).all():
        raise ValueError("`boxes` in `targets` must be in pixels: all of an image are within [0, 1]")
    rows, columns = (torch.arange(length, device=boxes.device)[:, None] for length in size)
    down = (rows + 1 > top) & (rows < bottom)
    across = (columns + 1 > left) & (columns < right)
    inside = (down[:, None] & across[None]).any(dim=2)
    if len(boxes) and not inside.any():
        raise ValueError(
            f"`boxes` in `targets` must be (left, top, right, bottom) in pixels: none of {boxes.tolist()[:3]} covers a "
            f"pixel of an image of {size[0]} x {size[1]}"
        )
    return inside

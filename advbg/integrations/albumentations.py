"""A new background in albumentations' pipelines."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from albumentations import ImageOnlyTransform
from torch import Tensor
from torch.utils.data import get_worker_info

from advbg.integrations.replacement import (
    Background,
    as_foreground,
    as_source,
    check_pixels,
    check_probability,
    draw_backgrounds,
    replace_background,
)


class ReplaceBackground(ImageOnlyTransform):
    """Put the object, which `mask` marks, before another background; the mask and everything else stay as they are.

    Put it before `Normalize`. An image whose mask is empty stays as it is: nothing of its object would be left.

    Args:
        background: a name, a folder of photographs, an exported generator, a picture or a `BackgroundSource`: see
            `advbg.integrations.replacement.as_source`. Names, paths and pictures (arrays, or nested lists as a saved
            pipeline has them) are saved with the pipeline.
        p: probability of applying the transform.

    Targets:
        image: with its `mask` of shape (height, width) or (height, width, 1): bool, float in [0, 1] for soft edges, or
            integers that are 0 outside and all 1 or all 255 inside.

    Image types:
        uint8, float32 in [0, 1]; any size and number of channels.

    Raises:
        FileNotFoundError: where `background` names nothing that is there.
        TypeError: where `background` is no source, or a mask no array.
        ValueError: where an argument is out of range, or an image comes without a mask or with an unsuitable one.
    """

    def __init__(self, background: Background | list[Any] = "random", p: float = 0.5) -> None:
        check_probability(p)
        super().__init__(p=p)
        self.background = _as_picture(background) if isinstance(background, list) else background
        self.source = as_source(self.background)

    @property
    def targets(self) -> dict[str, Any]:
        """What is changed: the image alone."""
        return {"image": self.apply}

    def get_params(self) -> dict[str, Any]:
        """Draw the seed of the background. It is all that has to be kept to replay it."""
        seed, worker = self.py_random.getrandbits(63), get_worker_info()
        # Every worker has a copy of the pipeline that draws the same, and draws it again in every epoch.
        return {"seed": seed if worker is None else (seed ^ worker.seed) % 2**63}

    def __call__(self, *args: Any, force_apply: bool = False, **kwargs: Any) -> Any:
        """Check what comes, whether the draw changes it or not: a mask that is missing now and then would go unseen."""
        others = {"images", "volume", "volumes"} & kwargs.keys()
        if others:
            raise ValueError(f"ReplaceBackground takes an `image` with its `mask`, got {', '.join(sorted(others))}")
        more = [name for name, kind in self._additional_targets.items() if kind == "image"]
        if more:
            raise ValueError(
                f"ReplaceBackground takes one `image` with its `mask`, but `additional_targets` adds "
                f"{', '.join(more)}: which mask is whose is not said; compose them apart"
            )
        if kwargs.get("mask") is None:
            raise ValueError("ReplaceBackground needs the foreground of the image: pass `mask=` beside `image=`")
        if not isinstance(kwargs["mask"], np.ndarray):
            raise TypeError(f"`mask` (a {type(kwargs['mask']).__name__}) must be a NumPy array")
        return super().__call__(*args, force_apply=force_apply, **kwargs)

    def apply_with_params(self, params: dict[str, Any], *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Hand the mask to `apply`, in replays as well: it belongs to the image, not to the draw."""
        return super().apply_with_params(params | {"mask": kwargs["mask"]}, *args, **kwargs)

    def apply(self, img: np.ndarray, *args: Any, **params: Any) -> np.ndarray:
        """Replace the background of one image.

        Args:
            img: of shape (height, width) or (height, width, channel).
            *args: none.
            **params: `seed` and `mask`.

        Returns:
            An image of the same shape and dtype.
        """
        image, mask = _to_batch(img), _to_batch(params["mask"])
        check_pixels(image)
        _, channels, height, width = image.shape
        backgrounds = draw_backgrounds(self.source, 1, (channels, height, width), params["seed"])
        changed = replace_background(image, as_foreground(mask, image), backgrounds, torch.tensor([True]))
        return changed[0].permute(1, 2, 0).numpy().reshape(img.shape)

    def get_dict_with_id(self) -> dict[str, Any]:
        """Describe the transform for a replay in this process, which takes any source along."""
        return {
            "__class_fullname__": self.get_class_fullname(),
            "background": self.background,
            "p": self.p,
            "id": id(self),
        }

    def to_dict_private(self) -> dict[str, Any]:
        """Describe the transform in plain values.

        Raises:
            NotImplementedError: where the background is an object of one's own, which only its author can rebuild.
        """
        background = self.background
        if isinstance(background, Path):
            background = str(background)
        elif isinstance(background, np.ndarray):
            background = background.tolist()
        elif not isinstance(background, str):
            raise NotImplementedError(
                f"ReplaceBackground with a {type(background).__name__} cannot be saved: names, paths and arrays can"
            )
        return {"__class_fullname__": self.get_class_fullname(), "background": background, "p": self.p}


def _as_picture(values: list[Any]) -> np.ndarray:
    """Read an array from the lists that JSON made of it: integers were uint8."""
    picture = np.array(values)
    if picture.dtype.kind != "i":
        return picture.astype(np.float32)
    if picture.min() < 0 or picture.max() > 255:
        raise ValueError(f"`background` ranges over [{picture.min()}, {picture.max()}], expected [0, 255]")
    return picture.astype(np.uint8)


def _to_batch(array: np.ndarray) -> Tensor:
    """A batch of one, channels first."""
    if array.ndim == 2:
        array = array[:, :, None]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))[None]

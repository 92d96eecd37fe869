"""Where a model's input lies: the one place that knows how images were normalised."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import kornia
import numpy as np
import torch
from jaxtyping import Float
from timm.data.config import resolve_data_config
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from advbg.warning import warn

# Interpolation and augmentation overshoot a little; a wrong mean or std overshoots by far more.
_OVERSHOOT = 0.05

# How far pixels and masks may leave [0, 1] by rounding, as those that were resized do.
_ROUNDING = 1e-3

# Of the range of pixels, that no channel covers more of where images are taken for normalised by more than they are.
# ImageNet's statistics leave of [0, 1] less than a quarter; images of little contrast are as narrow as half.
_NARROW = 0.3

# Nor is any pixel of such a batch darker.
_NOT_BLACK = 0.1

# Of the values, that may lie further outside: boxes of noise, as `RandomErasing` makes them, have a few that do.
_OUTLIERS = 0.01


@dataclass(frozen=True)
class PixelSpace:
    """The affine map between a model's input and pixels in [0, 1].

    A model's input is `(pixels - mean) / std` for each channel. Backgrounds are made as pixels and enter the model's
    input through this map, so that they cover its whole range.

    Args:
        mean: one number for each channel, or a single one for all of them, in pixel units.
        std: likewise, above 0.
        source: where the numbers come from, for messages.

    Raises:
        ValueError: where `mean` and `std` differ in length, are not finite, or `std` is not above 0.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    source: str = "default"

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"`mean` (={self.mean}) and `std` (={self.std}) must have the same number of channels")
        if not all(math.isfinite(value) for value in self.mean):
            raise ValueError(f"`mean` (={self.mean}) must be finite")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ValueError(f"`std` (={self.std}) must be finite and above 0")

    def check_saved(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Check that a state was saved with the same statistics.

        Raises:
            RuntimeError: where it was not.
        """
        if (tuple(mean), tuple(std)) != (self.mean, self.std):
            raise RuntimeError(
                f"`state_dict` was saved with `mean` {tuple(mean)} and `std` {tuple(std)}, but these companions have "
                f"{self.mean} and {self.std}"
            )

    @classmethod
    def of(
        cls,
        model: nn.Module,
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
    ) -> "PixelSpace":
        """Take the statistics from the arguments, else from timm's `pretrained_cfg`, else pixels in [0, 1].

        Args:
            model: the model, asked for `pretrained_cfg` where `mean` and `std` are not given.
            mean: per-channel mean of the normalisation the images went through, in pixel units in [0, 1].
            std: per-channel standard deviation of that normalisation.

        Raises:
            TypeError: where one of them is no number and no numbers.
            ValueError: where only one of `mean` and `std` is given, or they do not fit each other.
        """
        if (mean is None) != (std is None):
            raise ValueError(f"`mean` (={mean!r}) and `std` (={std!r}) must be given together")
        if mean is not None and std is not None:
            return cls(_as_tuple("mean", mean), _as_tuple("std", std), "arguments")
        if not hasattr(model, "pretrained_cfg") and isinstance(model, nn.DataParallel | DistributedDataParallel):
            model = model.module
        if getattr(model, "pretrained_cfg", None):
            config = resolve_data_config({}, model=model)
            return cls(_as_tuple("mean", config["mean"]), _as_tuple("std", config["std"]), "pretrained_cfg")
        return cls()

    def to_pixels(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "..."]:
        """Undo the normalisation: float32 pixels in [0, 1] of the images' shape and memory layout."""
        mean, std = self._statistics(images)
        return kornia.enhance.denormalize(images.float(), mean, std)

    def from_pixels(self, pixels: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "..."]:
        """Normalise pixels in [0, 1] as the model's input is."""
        mean, std = self._statistics(pixels)
        return kornia.enhance.normalize(pixels, mean, std)

    def check(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Look once whether images can come from this space.

        Args:
            images: a batch of the model's input.

        Raises:
            ValueError: where the channels differ from the statistics', a value is not finite, or more than one in a
                hundred lies outside [0, 1]. Warns where no value is near 0 and every channel covers under a third of
                [0, 1], as pixels do that were not normalised.
        """
        if len(self.mean) not in (1, images.shape[1]):
            raise ValueError(
                f"`mean` (={self.mean}, from {self.source}) has {len(self.mean)} channels, but `images` has "
                f"{images.shape[1]} (shape {tuple(images.shape)}): pass `mean` and `std` of as many"
            )
        pixels = self.to_pixels(images.detach())
        low, high = (value.item() for value in torch.aminmax(pixels))
        outside = ((pixels < -_OVERSHOOT) | (pixels > 1 + _OVERSHOOT)).float().mean().item()
        if not (math.isfinite(low) and math.isfinite(high)):
            unusable = 1 - images.isfinite().float().mean().item()
            raise ValueError(f"`images` hold values that are no numbers or infinite ({unusable:.2%} of them)")
        if outside > _OUTLIERS:
            raise ValueError(
                f"`images` range over [{images.min().item():.3g}, {images.max().item():.3g}], which `mean` "
                f"(={self.mean}) and `std` (={self.std}, from {self.source}) map to pixels in [{low:.3g}, {high:.3g}] "
                f"instead of [0, 1], {outside:.0%} of them outside: pass the `mean` and `std` that the images were "
                "normalised with, and clamp them where noise is added"
            )
        not_normalised = self.source == "pretrained_cfg" and any(self.mean) and images.min().item() == 0.0
        widest = (pixels.amax(dim=(0, 2, 3)) - pixels.amin(dim=(0, 2, 3))).max().item()
        # Dark images are narrow as well, but black is black; of images of one colour, nothing can be said.
        if not_normalised or (low > _NOT_BLACK and 0 < widest <= _NARROW):
            warn(
                f"`images` range over [{images.min().item():.3g}, {images.max().item():.3g}], which `mean` "
                f"(={self.mean}) and `std` (={self.std}, from {self.source}) map to pixels in [{low:.3g}, {high:.3g}]"
                f"{', as if they were not normalised' if not_normalised else ', of [0, 1]'}: pass the `mean` and `std` "
                "that they were normalised with, if these are others"
            )

    def _statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        options = {"device": images.device, "dtype": torch.float32}
        channels = images.shape[1]
        # Filled on the device: a tensor that is made of Python's numbers has to wait for a GPU.
        mean, std = ([torch.full((), value, **options) for value in values] for values in (self.mean, self.std))
        return torch.stack(mean).expand(channels), torch.stack(std).expand(channels)


def outside_unit_interval(values: Tensor) -> tuple[float, float] | None:
    """The lowest and the highest of pixels or masks, where these leave [0, 1] by more than rounding or are no numbers.

    Waits for the GPU. None where nothing is wrong.
    """
    if not values.numel():
        return None
    low, high = (value.item() for value in torch.aminmax(values.detach()))
    return None if -_ROUNDING <= low <= high <= 1 + _ROUNDING else (low, high)


def check_batch(images: Tensor, built_for: tuple[int, int, int] | None, device: torch.device) -> None:
    """Check that a tensor is a batch of images.

    Args:
        images: should be a float tensor of shape (batch, channel, height, width).
        built_for: channels, height and width of the first batch, or None before it.
        device: where the companions lie, once there was a batch.

    Raises:
        TypeError: where it is no tensor.
        ValueError: where it is none or empty, has other channels than the first batch, or lies elsewhere.
    """
    if not isinstance(images, Tensor):
        raise TypeError(
            f"`images` (a {type(images).__name__}) must be one tensor of shape (batch, channels, height, width)"
        )
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(
            f"`images` must be a float tensor of shape (batch, channels, height, width), got {images.dtype} of shape "
            f"{tuple(images.shape)}"
        )
    if not len(images):
        raise ValueError(f"`images` of shape {tuple(images.shape)} are an empty batch")
    if built_for is not None and images.shape[1] != built_for[0]:
        raise ValueError(
            f"`images` of shape {tuple(images.shape)} have {images.shape[1]} channels, but the companions were built "
            f"for {built_for[0]}"
        )
    if built_for is not None and images.device != device:
        raise ValueError(
            f"`images` lie on {images.device}, but the companions on {device}, where the first batch was or the model "
            "has been moved: take both to one device, the companions by `wrapper.to()` or `companions.to()`"
        )


def _as_tuple(name: str, values: float | Sequence[float]) -> tuple[float, ...]:
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` (={values!r}) must be a number, or one for each channel: {error}") from error
    if numbers.ndim > 1:
        raise ValueError(f"`{name}` has shape {numbers.shape}, expected a number, or one for each channel")
    return tuple(numbers.reshape(-1).tolist())

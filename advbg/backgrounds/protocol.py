"""What a source of backgrounds is."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from advbg.pixel_space import ROUNDING


@runtime_checkable
class BackgroundSource(Protocol):
    """Anything that makes backgrounds.

    A source that is an `nn.Module` with parameters that require a gradient takes part in the max step: see
    `TrainableSource`. Any other is only sampled.
    """

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds.

        Args:
            count: how many.
            shape: channels, height and width.
            generator: where all randomness comes from; the backgrounds lie on its device.

        Returns:
            Pixels in [0, 1], float32.
        """
        ...


def sample_for(
    images: Float[Tensor, "batch channel height width"], source: BackgroundSource, generator: torch.Generator
) -> Float[Tensor, "batch channel height width"]:
    """Make a background for each image, in full precision.

    Args:
        images: only their shape and device matter.
        source: what makes them.
        generator: where all randomness comes from.

    Raises:
        TypeError: where the source makes no tensor.
        ValueError: where it makes another shape, or no floats.
    """
    count, channels, height, width = images.shape
    with torch.autocast(images.device.type, enabled=False):
        backgrounds = source.sample(count, (channels, height, width), generator)
    if not isinstance(backgrounds, Tensor):
        raise TypeError(f"{type(source).__name__}.sample made a {type(backgrounds).__name__}, expected a tensor")
    if backgrounds.shape != images.shape:
        raise ValueError(
            f"{type(source).__name__}.sample made backgrounds of shape {tuple(backgrounds.shape)} for `images` of "
            f"shape {tuple(images.shape)}"
        )
    _check_floats(backgrounds, source)
    return backgrounds


def check_range(backgrounds: Tensor, source: BackgroundSource) -> None:
    """Check that what a source made are pixels; it waits for the GPU.

    Args:
        backgrounds: that it made, of any shape.
        source: for the message.

    Raises:
        ValueError: where they are no floats, or lie outside of [0, 1], but for rounding, or are no numbers.
    """
    _check_floats(backgrounds, source)
    if not backgrounds.numel():
        return
    low, high = (value.item() for value in torch.aminmax(backgrounds.detach()))
    if not -ROUNDING <= low <= high <= 1 + ROUNDING:
        raise ValueError(
            f"{type(source).__name__}.sample made backgrounds that range over [{low:.3g}, {high:.3g}], expected [0, 1]"
        )


def _check_floats(backgrounds: Tensor, source: BackgroundSource) -> None:
    if not backgrounds.is_floating_point():
        raise ValueError(
            f"{type(source).__name__}.sample made backgrounds of {backgrounds.dtype}, expected floats in [0, 1]"
        )


class TrainableSource(nn.Module):
    """A source whose parameters the max step pushes uphill.

    Attributes:
        learning_rate: of the Adam that the companions run over its parameters.
    """

    learning_rate: float = 1e-3

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds, as `BackgroundSource.sample` does, with a graph back to the parameters."""
        raise NotImplementedError(f"{type(self).__name__} must define `sample`")

    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter]:
        """Grow older by one optimiser step.

        Args:
            generator: where all randomness comes from.

        Returns:
            The parameters that were born anew, whose optimiser state is forgotten.
        """
        return ()

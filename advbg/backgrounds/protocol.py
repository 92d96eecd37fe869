"""What a source of backgrounds is."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from advbg.pixel_space import outside_unit_interval


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


def sample_backgrounds(
    source: BackgroundSource, count: int, shape: tuple[int, int, int], generator: torch.Generator
) -> Float[Tensor, "count channel height width"]:
    """Ask a source for backgrounds, in full precision, and look at what it made but for its values.

    Args:
        source: what makes them.
        count: how many.
        shape: channels, height and width.
        generator: where all randomness comes from.

    Raises:
        TypeError: where the source makes no tensor.
        ValueError: where it makes another shape, or no floats.
    """
    with torch.autocast(generator.device.type, enabled=False):
        backgrounds = source.sample(count, shape, generator)
    if not isinstance(backgrounds, Tensor):
        raise TypeError(f"{type(source).__name__}.sample made a {type(backgrounds).__name__}, expected a tensor")
    if backgrounds.shape != (count, *shape):
        raise ValueError(
            f"{type(source).__name__}.sample made backgrounds of shape {tuple(backgrounds.shape)}, expected "
            f"{(count, *shape)}"
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
    if outside := outside_unit_interval(backgrounds):
        low, high = outside
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

    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter] | None:
        """Grow older by one optimiser step of the adversarial phase.

        Args:
            generator: where all randomness comes from.

        Returns:
            The parameters that were drawn anew, whose optimiser state is forgotten; None for none.
        """
        return ()

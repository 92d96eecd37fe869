"""What a source of backgrounds is."""

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


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

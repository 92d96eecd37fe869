"""Backgrounds that are only drawn: black and noise (the paper's rows of the insulator table)."""

import torch
from jaxtyping import Float
from torch import Tensor


class Black:
    """Black everywhere: the object alone."""

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make black backgrounds."""
        return torch.zeros((count, *shape), device=generator.device)


class Noise:
    """Each value uniform in [0, 1] on its own."""

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make noise."""
        return torch.rand((count, *shape), generator=generator, device=generator.device)

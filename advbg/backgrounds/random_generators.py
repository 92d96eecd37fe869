"""Small random generators for those who sample alone, where no companions draw a population anew."""

import torch
from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds.population import GeneratorPopulation


class RandomGenerators:
    """The `random` source for data pipelines: a population whose generators are all drawn anew for each call.

    Backgrounds of `GeneratorPopulation(climbing=0)`, the kinds dealt out from a random one on, so that images which
    come one by one get all of them.
    """

    def __init__(self) -> None:
        self._populations: dict[int, GeneratorPopulation] = {}

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds in [0, 1]."""
        population = self._population_of(shape[0]).to(generator.device)
        population.age = int(torch.randint(len(population.members), (), generator=generator, device=generator.device))
        population.advance(generator)
        return population.sample(count, shape, generator)

    def _population_of(self, channels: int) -> GeneratorPopulation:
        if channels not in self._populations:
            # Layers draw first weights from the global random stream, which is not ours.
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                population = GeneratorPopulation(channels, torch.Generator(), climbing=0)
            # Channels last, as companions are: twice as fast on CPUs.
            self._populations[channels] = population.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return self._populations[channels]

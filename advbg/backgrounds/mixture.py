"""Several sources at once, each image from one of them."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from advbg.backgrounds.protocol import BackgroundSource, TrainableSource, check_range, sample_backgrounds
from advbg.numbers import is_number
from advbg.random_numbers import draw_number


class Mixture(TrainableSource):
    """Sources that share out each batch by their weights; those that can be trained take part in the max step.

    Which image gets which source is drawn anew for every batch. A batch too small for all of them reaches each as
    often as its weight says over many batches.

    Args:
        sources: what makes backgrounds.
        weights: of the sources, each over 0; they need not sum to 1.

    Raises:
        ValueError: where there is no source, or a weight for each is missing, 0, negative or not finite.
    """

    def __init__(self, sources: Sequence[BackgroundSource], weights: Sequence[float]) -> None:
        super().__init__()
        check_weights(weights)
        if len(sources) != len(weights):
            raise ValueError(f"`weights` (={tuple(weights)}) must be one for each of the {len(sources)} sources")
        self.sources = list(sources)
        self.shares = tuple(weight / sum(weights) for weight in weights)
        own = [place for place, source in enumerate(sources) if not type(source).__module__.startswith("advbg.")]
        self._unchecked = set(own)
        self.trained = nn.ModuleList(source for source in sources if isinstance(source, nn.Module))

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds in [0, 1], shared out over the sources."""
        return self.sample_candidates(1, count, shape, generator)[0]

    def sample_candidates(
        self, number: int, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "number count channel height width"]:
        """Make several backgrounds for each image, all of them by the source that the image gets."""
        offset = draw_number(generator)
        # Systematic sampling: each source gets its share of the batch, rounded down or up by the offset.
        ends = [math.floor(count * share + offset) for share in accumulate(self.shares)]
        ends[-1] = count  # whatever rounding made of the sum of the shares
        made = [
            self._sample_from(place, number, end - start, shape, generator)
            for place, (start, end) in enumerate(pairwise([0, *ends]))
            if end > start
        ]
        return torch.cat(made, dim=1)[:, torch.randperm(count, generator=generator, device=generator.device)]

    def _sample_from(
        self, place: int, number: int, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Tensor:
        source = self.sources[place]
        candidates = sample_candidates(source, number, count, shape, generator)
        # Whoever looks at the mixture's first batch may see none of a rare source.
        if place in self._unchecked:
            check_range(candidates, source)
            self._unchecked.remove(place)
        return candidates

    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter]:
        """Let every source grow older; what is born in any of them is born here."""
        return [
            parameter
            for source in self.trained
            if isinstance(source, TrainableSource)
            for parameter in source.advance(generator) or ()
        ]


def sample_candidates(
    source: BackgroundSource, number: int, count: int, shape: tuple[int, int, int], generator: torch.Generator
) -> Float[Tensor, "number count channel height width"]:
    """Ask a source for several backgrounds for each image.

    Of a mixture, all of an image's are by one of its sources: the hardest of several sources' would nearly always be
    of the same one.

    Args:
        source: what makes them.
        number: of backgrounds for each image, 1 or more.
        count: of images.
        shape: channels, height and width.
        generator: where all randomness comes from.

    Returns:
        As `sample_backgrounds` does, and raises what it does.
    """
    if isinstance(source, Mixture):
        return source.sample_candidates(number, count, shape, generator)
    return sample_backgrounds(source, number * count, shape, generator).unflatten(0, (number, count))


def check_weights(weights: Sequence[float]) -> None:
    """Check the weights of a mixture.

    Raises:
        ValueError: where there is none, or one is no number, 0, negative or not finite.
    """
    numbers = all(is_number(weight) for weight in weights)
    if not weights or not numbers or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        raise ValueError(f"`weights` (={tuple(weights)}) must be numbers over 0, one for each source")

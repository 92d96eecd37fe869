"""What the study of the adversary compares."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advbg.backgrounds import BackgroundSource, GeneratorPopulation, PaperGenerator
from advbg.benchmark.study_sources import (
    AscendedForEachBatch,
    Blended,
    HalfTrained,
    LatentAscent,
    MostHarmfulBirths,
    ProgressiveRandomConvolutions,
    RandomPopulation,
    Shape,
)

# Weight of the consistency term, as ALT has it.
_CONSISTENCY = 0.75


@dataclass
class Battle:
    """The model and the batch that an adversary faces.

    Attributes:
        model: the classifier.
        images: the current batch, pixels in [0, 1].
        targets: its classes.
        masks: its foregrounds in [0, 1], for arms that look at the batch.
    """

    model: nn.Module
    images: Tensor | None = None
    targets: Tensor | None = None
    masks: Tensor | None = None

    def harm(self, backgrounds: Tensor) -> Tensor:
        """The model's mean loss on composites of the batch's first images with backgrounds."""
        if self.images is None or self.masks is None or self.targets is None:
            raise RuntimeError("there is no batch to harm")
        count = min(len(backgrounds), len(self.images))
        images, masks, targets = self.images[:count], self.masks[:count], self.targets[:count]
        logits = self.model(images * masks + backgrounds[:count] * (1 - masks))
        return F.cross_entropy(logits.float(), targets)


MakeSource = Callable[[Battle, Shape, int, torch.Generator], BackgroundSource]


@dataclass(frozen=True)
class Arm:
    """One way to make backgrounds.

    Attributes:
        description: for the table.
        make_source: from the battle, the shape of the images, the batch size and a generator for first weights.
        consistency: weight of the divergence between predictions on clean and changed images; 0 is without, and
            spares the second forward pass.
        looks_at_batch: whether the source asks for its harm on the current batch.
    """

    description: str
    make_source: MakeSource
    consistency: float = 0.0
    looks_at_batch: bool = False


def _population(trained: bool = True, lifetime: int = 40, **options: object) -> MakeSource:
    def make(battle: Battle, shape: Shape, batch_size: int, generator: torch.Generator) -> BackgroundSource:
        return GeneratorPopulation(shape[0], generator, trained=trained, lifetime=lifetime, **options)  # pyright: ignore[reportArgumentType]

    return make


_random = _population(trained=False, lifetime=1)

ARMS = {
    "random": Arm("random weights, drawn anew for every batch", _random),
    "paper": Arm("the paper's single generator and rate", lambda _, shape, __, g: PaperGenerator(*shape, g)),
    "short-lived": Arm("one generator, reborn every 40 steps", _population(species=((2, 1),))),
    "population": Arm("six generators of several kinds, each reborn every 40 steps", _population()),
    "latent ascent": Arm(
        "noise and weights climb, reborn every 10 steps",
        lambda _, shape, batch_size, g: LatentAscent(batch_size, shape, g),
    ),
    "harmful births": Arm(
        "the population, of four births the most harmful survives",
        lambda battle, shape, _, g: MostHarmfulBirths(shape, g, battle.harm),
        looks_at_batch=True,
    ),
    "half trained": Arm("three members climb, three are random", lambda _, shape, __, g: HalfTrained(shape[0], g)),
    "blended random": Arm(
        "half of the random backgrounds blend two", lambda _, shape, __, g: Blended(RandomPopulation(shape[0], g))
    ),
    "consistent random": Arm("random, with the consistency term", _random, consistency=_CONSISTENCY),
    "ALT": Arm(
        "a network drawn for each batch, three ascent steps, consistency",
        lambda battle, _, __, ___: AscendedForEachBatch(battle.harm),
        consistency=_CONSISTENCY,
        looks_at_batch=True,
    ),
    "Pro-RandConv": Arm("progressive random convolutions of noise", lambda *_: ProgressiveRandomConvolutions()),
}

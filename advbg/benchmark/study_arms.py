"""What the study of the adversary compares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advbg.backgrounds import BackgroundSource, GeneratorPopulation, PaperGenerator
from advbg.backgrounds.population import SPECIES
from advbg.benchmark.study_sources import (
    AscendedForEachBatch,
    Blended,
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
        bfloat16: whether the model is asked under autocast, as it is trained.
    """

    model: nn.Module
    images: Tensor | None = None
    targets: Tensor | None = None
    masks: Tensor | None = None
    bfloat16: bool = False

    def harm(self, backgrounds: Tensor) -> Tensor:
        """The model's mean loss on composites of the batch's first images with backgrounds."""
        if self.images is None or self.masks is None or self.targets is None:
            raise RuntimeError("there is no batch to harm")
        count = min(len(backgrounds), len(self.images))
        images, masks, targets = self.images[:count], self.masks[:count], self.targets[:count]
        # Sources make their backgrounds without autocast, but the model costs what it costs in training.
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
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
        steps_of: the arm whose number of steps it takes instead of its own seconds' worth, or None.
    """

    description: str
    make_source: MakeSource
    consistency: float = 0.0
    looks_at_batch: bool = False
    steps_of: str | None = None


def _population(**options: Any) -> MakeSource:
    return lambda _, shape, __, generator: GeneratorPopulation(shape[0], generator, **options)


_random = _population(climbing=0)
_all_climb = _population(climbing=len(SPECIES), climb_every=1, learning_rate=1e-3)
_one_climbs = _population(species=((2, 1, False),), climbing=1, climb_every=1, learning_rate=1e-3)

ARMS = {
    "random": Arm("eight generators of several kinds, drawn anew in every step", _random),
    "paper": Arm("the paper's single generator and rate", lambda _, shape, __, g: PaperGenerator(*shape, g)),
    "short-lived": Arm("one generator, climbing for 40 steps", _one_climbs),
    "some climb": Arm("the default: six random, two climbing in every fourth of 40 steps", _population()),
    "all climb": Arm("all eight climbing for 40 steps", _all_climb),
    "all climb, equal steps": Arm("the same, for as many steps as `random`", _all_climb, steps_of="random"),
    "latent ascent": Arm(
        "noise and weights of all climb for 10 steps", lambda _, shape, count, g: LatentAscent(count, shape, g)
    ),
    "harmful births": Arm(
        "all climb, and of four births the most harmful survives",
        lambda battle, shape, _, g: MostHarmfulBirths(shape, g, battle.harm),
        looks_at_batch=True,
    ),
    "blended random": Arm(
        "random; half of the backgrounds blend two", lambda _, shape, __, g: Blended(RandomPopulation(shape[0], g))
    ),
    "consistent random": Arm("random, with ALT's consistency term", _random, consistency=_CONSISTENCY),
    "ALT": Arm(
        "a network drawn for each batch, three ascent steps, consistency",
        lambda battle, _, __, ___: AscendedForEachBatch(battle.harm),
        consistency=_CONSISTENCY,
        looks_at_batch=True,
    ),
    "Pro-RandConv": Arm("progressive random convolutions of noise", lambda *_: ProgressiveRandomConvolutions()),
}

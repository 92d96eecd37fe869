"""The rows of a case study."""

from dataclasses import dataclass
from pathlib import Path

from advbg.benchmark.methods import PHOTOGRAPHS
from advbg.training.settings import PROPOSAL, TRAINING_METHODS, FitSettings

# The proposal against its own backgrounds and photographs, half and half.
MIXED = f"{PROPOSAL} + {PHOTOGRAPHS}"
ROWS = (*TRAINING_METHODS, MIXED)


@dataclass(frozen=True)
class CaseRecipe:
    """How every row of a case study is trained.

    Args:
        model: name of a timm model.
        weights: file of pre-trained weights, or None.
        pretrained: whether timm downloads weights; without either, training is from scratch.
        image_size: side of the images in pixels.
        epochs: of the whole training.
        batch_size: images in a step.
        learning_rate: the largest of one cycle.
        precision: `float32` or `bfloat16`.
    """

    model: str
    weights: str | None
    pretrained: bool
    image_size: int
    epochs: int
    batch_size: int
    learning_rate: float
    precision: str

    def settings(self, row: str, seed: int, photographs: Path) -> FitSettings:
        """What `fit` is told.

        Args:
            row: one of `ROWS`.
            seed: of everything random.
            photographs: folder of those to train with.
        """
        return FitSettings(
            method=PROPOSAL if row == MIXED else row,
            background=f"adversarial=1,{photographs}=1" if row == MIXED else None,
            photographs=str(photographs) if row == PHOTOGRAPHS else None,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=seed,
            precision=self.precision,
        )

"""The rows of a case study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from advbg.benchmark.methods import PHOTOGRAPHS
from advbg.training.models import check_model, check_tuned_model, check_weights, create_model
from advbg.training.settings import BASELINE, PAPER, PROPOSAL, TRAINING_METHODS, FitSettings
from advbg.training.tunings import defaults_of

_LEAST_SIDE = 32

# The proposal against photographs and its own backgrounds, half and half; of its own, as many are clutter as ever.
# Where there are photographs, distractors add nothing.
MIXED = f"{PROPOSAL} + {PHOTOGRAPHS}"
_HARDEST_OF_BOTH = "hardest of both"
# The proposal, and both, before the hardest of so many backgrounds. With three, held-out images lose.
_HARDEST = ("hardest proposal", _HARDEST_OF_BOTH)
_CANDIDATES = 2
OF_BOTH = (MIXED, _HARDEST_OF_BOTH)
_OF_THE_PROPOSAL = (PROPOSAL, MIXED, *_HARDEST)
# Those that are trained with photographs.
OF_PHOTOGRAPHS = (PHOTOGRAPHS, *OF_BOTH)
ATTENTION = "attention"
ROWS = (BASELINE, ATTENTION, *TRAINING_METHODS[1:], MIXED, *_HARDEST)


def check_rows(names: Sequence[str]) -> None:
    """Check names of rows.

    Raises:
        ValueError: where a name is unknown or stands twice, or there is none.
    """
    if not names or len(set(names)) < len(names) or set(names) - set(ROWS):
        raise ValueError(f"`rows` (={','.join(names)!r}) must be different ones of {', '.join(ROWS)}")


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
        tuning: one of `TUNINGS`.
        copies: share of the composites that show their object many times over, in [0, 1]; those of `paper` never do.
        hold_statistics: whether BatchNorm keeps the statistics of a pre-trained model, in every row, as it does with
            `gentle` whatever is said.

    Raises:
        FileNotFoundError: where `weights` is no file.
        ValueError: where an argument is out of range; the message names it.
    """

    model: str
    weights: str | None
    pretrained: bool
    image_size: int
    epochs: int
    batch_size: int
    learning_rate: float
    precision: str
    tuning: str
    copies: float = 0.0
    hold_statistics: bool = False

    def __post_init__(self) -> None:
        check_model(self.model)
        check_weights(self.weights, pretrained=self.pretrained)
        check_tuned_model(self.tuning, self.weights, pretrained=self.pretrained, hold_statistics=self.hold_statistics)
        if self.image_size < _LEAST_SIDE:
            raise ValueError(f"`image_size` (={self.image_size}) must be {_LEAST_SIDE} or more")
        if self.epochs < 2:
            raise ValueError(f"`epochs` (={self.epochs}) must be 2 or more, one for each branch of `{ATTENTION}`")
        self.settings(PROPOSAL, 0, Path())

    @property
    def from_scratch(self) -> bool:
        """Whether models begin with random weights."""
        return self.weights is None and not self.pretrained

    @property
    def clutter(self) -> float:
        """Of the proposal's backgrounds, those that are pieces of objects."""
        return defaults_of(self.tuning, pretrained=not self.from_scratch).clutter

    def model_for(self, classes: int, seed: int) -> nn.Module:
        """A new model.

        Args:
            classes: how many it shall tell apart.
            seed: of its first weights.
        """
        return create_model(
            self.model,
            classes,
            seed=seed,
            weights=Path(self.weights) if self.weights else None,
            pretrained=self.pretrained,
            image_size=self.image_size,
            tuning=self.tuning,
        )

    def settings(self, row: str, seed: int, photographs: Path, unseen: Sequence[Path] = ()) -> FitSettings:
        """What `fit` is told.

        Args:
            row: one of `ROWS` but `attention`, which is trained as two baselines.
            seed: of everything random.
            photographs: folder of those to train with.
            unseen: photographs that are not trained with.
        """
        mixed: dict[str, Any] = {
            "background": f"adversarial={1 - self.clutter},{photographs}=1",
            "clutter": self.clutter / 2,
        }
        hardest: dict[str, Any] = {"candidates": _CANDIDATES if row in _HARDEST else 1}
        return FitSettings.of(
            self.tuning,
            self.learning_rate,
            pretrained=not self.from_scratch,
            method=PROPOSAL if row in _OF_THE_PROPOSAL else row,
            photographs=str(photographs) if row == PHOTOGRAPHS else None,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=seed,
            precision=self.precision,
            copies=0.0 if row in (BASELINE, PAPER) else self.copies,
            hold_statistics=self.hold_statistics,
            leave_out=tuple(str(file) for file in unseen) if row in OF_PHOTOGRAPHS else None,
            **(mixed if row in OF_BOTH else {}),
            **(hardest if row in _OF_THE_PROPOSAL else {}),
        )

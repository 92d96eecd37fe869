"""How a model is trained, checked before any work is done."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from advbg.backgrounds import Photographs, parse_background
from advbg.backgrounds.photographs import list_images
from advbg.benchmark.methods import METHODS, PHOTOGRAPHS, companion_options
from advbg.benchmark.reproduce import check_precision
from advbg.options import Options
from advbg.schedule import Schedule
from advbg.training.tunings import (
    GENTLE,
    LIGHTING,
    OF_PRETRAINED,
    OF_RANDOM_WEIGHTS,
    PLACEMENT,
    PLAIN,
    check_tuning,
    defaults_of,
)

# AG-CNN is a model of its own, not a way to train any model.
TRAINING_METHODS = tuple(name for name in METHODS if name != "attention")

# The row whose backgrounds can be chosen, the one that is what the paper says, and the one without any.
PROPOSAL, PAPER, BASELINE = "proposal", "paper", "baseline"

# What stands in its backgrounds, since the others are of one source each.
_OF_THE_PROPOSAL = ("clutter", "distractors")

# How composites are made, by the methods that make any in another way than the paper's.
_OF_COMPOSITES = ("clean_share", "placement", "lighting")


@dataclass(frozen=True)
class FitSettings:
    """How a model is trained, whatever the images.

    Args:
        method: one of `TRAINING_METHODS`.
        background: what the method `proposal` trains against: `adversarial`, `random`, a folder of photographs, or a
            mixture such as `adversarial=1,photographs/folder=1`. None for the method's own.
        photographs: folder for the method `photographs`, or None for the others.
        epochs: 1 or more.
        batch_size: images in a step, 2 or more; those that fill no batch of their own are shared out among the others,
            which are nearly twice as large at most.
        learning_rate: the largest of one cycle, above 0.
        seed: of everything random, from 0 to 2**63 - 1.
        hflip: share of the training images that are mirrored, whatever the method, in [0, 1].
        precision: `float32`, or `bfloat16` for training under autocast.
        classifier_share: of the steps, before masks are learned.
        mask_share: of the steps, in which masks are learned; above 0.
        clean_share: as `AdversarialBackground` takes it, for all methods that composite but `paper`, which leaves none.
        placement: likewise; `paper` leaves objects where they are.
        lighting: likewise.
        copies: likewise, but neither `paper` nor `baseline` can have any.
        clutter: likewise, for the method `proposal` alone, since the others are of one source each; None for 0.5.
        distractors: likewise; None for 0.
        candidates: likewise; None for what suits the tuning where photographs are among the backgrounds, and 1
            elsewhere.
        hold_statistics: whether BatchNorm keeps the statistics that it has, as that of a pre-trained model should,
            whatever the method; True with `gentle`, whatever is said.
        tuning: `gentle` for a pre-trained model: its classifier is fitted first, it keeps its statistics of BatchNorm,
            and its weights go two fifths of the way back at the end; `plain` and `ordinary` are without all that, and
            differ in the model that `create_model` makes. The defaults above are those of `plain` and random weights;
            `of` has those of each tuning.
        leave_out: photographs that are not shown, such as files that cannot be read.

    Raises:
        NotADirectoryError: where `photographs` is no folder.
        ValueError: where an argument is out of range; the message names it.
    """

    method: str = PROPOSAL
    background: str | None = None
    photographs: str | None = None
    epochs: int = 6
    batch_size: int = 32
    learning_rate: float = OF_RANDOM_WEIGHTS.learning_rate
    seed: int = 0
    hflip: float = 0.5
    precision: str = "float32"
    classifier_share: float = OF_RANDOM_WEIGHTS.classifier_share
    mask_share: float = OF_RANDOM_WEIGHTS.mask_share
    clean_share: float = OF_RANDOM_WEIGHTS.clean_share
    placement: float = PLACEMENT
    lighting: float = LIGHTING
    copies: float = 0.0
    clutter: float | None = None
    distractors: float | None = None
    candidates: int | None = None
    hold_statistics: bool = False
    tuning: str = PLAIN
    leave_out: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, tuning: str, learning_rate: float | None = None, *, pretrained: bool = False, **others: Any
    ) -> "FitSettings":
        """Settings with what suits a tuning and a model.

        Args:
            tuning: one of `TUNINGS`.
            learning_rate: instead of the one that suits it.
            pretrained: whether the model knows something; taken for granted where `tuning` is `gentle` or `ordinary`.
            others: further arguments by their names; None where nothing is said.

        Raises:
            NotADirectoryError: as for any settings.
            ValueError: likewise.
        """
        defaults = defaults_of(tuning, pretrained=pretrained)
        said = {name: value for name, value in others.items() if value is not None}
        method = said.get("method", PROPOSAL)
        for name in _OF_COMPOSITES:
            if name in said and method in (BASELINE, PAPER):
                raise ValueError(f"`{name}` (={said[name]!r}) makes no difference to `method` {method}: leave it out")
        # The paper's mask generator begins with no guess, and needs the steps of the other tunings.
        shares = defaults if method != PAPER else defaults_of(PLAIN, pretrained=pretrained or tuning in OF_PRETRAINED)
        options: dict[str, Any] = {
            "classifier_share": shares.classifier_share,
            "mask_share": shares.mask_share,
            "clean_share": defaults.clean_share,
            **said,
        }
        if method == PROPOSAL:
            suits = {name: getattr(defaults, name) for name in _OF_THE_PROPOSAL}
            if options.get("background") is not None or options.get("hold_statistics"):
                # Photographs have things in them already; and what is kept by its statistics loses by distractors.
                suits["distractors"] = 0.0
            for name, value in suits.items():
                if options.get(name) is None and value != getattr(OF_RANDOM_WEIGHTS, name):
                    options[name] = value
        rate = defaults.learning_rate if learning_rate is None else learning_rate
        return cls(tuning=tuning, learning_rate=rate, **options)

    def __post_init__(self) -> None:
        if self.tuning == GENTLE:
            object.__setattr__(self, "hold_statistics", True)
        if self.method not in TRAINING_METHODS:
            raise ValueError(f"`method` (={self.method!r}) must be one of {', '.join(TRAINING_METHODS)}")
        for name, least in (("epochs", 1), ("batch_size", 2), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` (={getattr(self, name)!r}) must be {least} or more")
        if self.seed >= 2**63:
            raise ValueError(f"`seed` (={self.seed!r}) must be less than 2**63")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"`learning_rate` (={self.learning_rate!r}) must be above 0")
        if not 0 <= self.hflip <= 1:
            raise ValueError(f"`hflip` (={self.hflip!r}) must be a share in [0, 1]")
        check_precision(self.precision)
        check_tuning(self.tuning)
        for name in ("background", "candidates", *_OF_THE_PROPOSAL):
            value = getattr(self, name)
            if value is not None and self.method != PROPOSAL:
                raise ValueError(f"`{name}` (={value!r}) goes with `method` {PROPOSAL}, not {self.method}")
        if self.copies and self.method in (BASELINE, PAPER):
            raise ValueError(f"`copies` (={self.copies!r}) must be 0 for `method` {self.method}, which shows none")
        if (self.photographs is not None) != (self.method == PHOTOGRAPHS):
            raise ValueError(
                f"`photographs` (={self.photographs!r}) must be a folder if `method` (={self.method!r}) is "
                f"{PHOTOGRAPHS}, and only then"
            )
        if self.photographs is not None:
            list_images(self.photographs, "photographs")
        if not self.mask_share > 0:
            raise ValueError(f"`mask_share` (={self.mask_share!r}) must be above 0, for masks to be learned")
        self.schedule(1000)
        Options(**self._composites())
        Options(**self.companion_options() or {})

    def schedule(self, total_steps: int) -> Schedule:
        """Share out the steps of the whole training.

        Raises:
            ValueError: where there are fewer than one for each phase, or the shares leave none to the last one.
        """
        return Schedule.fractions(total_steps, self.classifier_share, self.mask_share)

    def companion_options(self) -> dict[str, Any] | None:
        """What the method says to `AdversarialBackground`; None where it trains without companions."""
        return None if self._options is None else dict(self._options)

    @cached_property
    def _options(self) -> dict[str, Any] | None:
        """The same, made once, since a folder of photographs on a network is long to list."""
        options = companion_options(self.method, Path(self.photographs) if self.photographs else None)
        if options is None or self.method == PAPER:
            return options
        if self.background is not None:
            options = options | {"background": parse_background(self.background, "background")}
        for source in photographs_in(options):
            source.leave_out(Path(file) for file in self.leave_out or ())
        options = options | self._composites()
        if self.method != PROPOSAL:
            return options
        for name in _OF_THE_PROPOSAL:
            said = getattr(self, name)
            options = options | {name: getattr(OF_RANDOM_WEIGHTS, name) if said is None else said}
        # Here and not in `of`, since it takes the folder's photographs.
        suits = defaults_of(self.tuning, pretrained=True) if photographs_in(options) else OF_RANDOM_WEIGHTS
        return options | {"candidates": suits.candidates if self.candidates is None else self.candidates}

    def _composites(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in (*_OF_COMPOSITES, "copies")}


def photographs_in(options: Mapping[str, Any]) -> list[Photographs]:
    """The folders of photographs among the backgrounds.

    Args:
        options: of `AdversarialBackground`.
    """
    background = options.get("background")
    sources = [source for source, _ in background] if isinstance(background, list) else [background]
    return [source for source in sources if isinstance(source, Photographs)]

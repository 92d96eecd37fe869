"""What can be chosen about the companions, checked before any work is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, SupportsIndex, get_args

import torch
from torch import Tensor

from advbg.backgrounds import Background, BackgroundSource, background_name, check_background, make_source
from advbg.hooks import left_out, plugin_manager, task_names
from advbg.masks import (
    Binarization,
    MaskObjective,
    PaperObjective,
    SufficiencyNecessity,
    check_mask_generator,
    make_mask_generator,
)
from advbg.numbers import is_number
from advbg.schedule import Schedule
from advbg.task_hooks import task_distance
from advbg.warning import warn

# Objects that may stand in one background.
MOST_DISTRACTORS = 2

# Light changes by factors of up to e to its power: more than seven leaves nothing to be seen.
_STRONGEST_LIGHT = 2

_NUMBERS = ("halo", "clean_share", "placement", "copies", "lighting", "clutter", "distractors")


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about the companions; see `AdversarialBackground` for what each means."""

    task: str = "classification"
    schedule: Schedule = field(default_factory=Schedule)
    clean_share: float = 0.25
    mask_generator: str | Callable[[Tensor], Tensor] = "unet"
    mask_objective: MaskObjective = field(default_factory=SufficiencyNecessity)
    binarization: Binarization = "otsu"
    halo: float = 1 / 16
    background: Background = "adversarial"
    placement: float = 0.0
    copies: float = 0.0
    lighting: float = 0.0
    clutter: float = 0.0
    distractors: float = 0.0
    candidates: int = 1
    hold_statistics: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.schedule, Schedule):
            raise TypeError(f"`schedule` (={self.schedule!r}) must be an `advbg.Schedule`")
        if isinstance(self.mask_objective, type) or not callable(self.mask_objective):
            raise TypeError(f"`mask_objective` (={self.mask_objective!r}) must be an objective to call, not its name")
        if not isinstance(self.hold_statistics, bool):
            raise TypeError(f"`hold_statistics` (={self.hold_statistics!r}) must be True or False")
        if not isinstance(self.seed, SupportsIndex) or isinstance(self.seed, bool):
            raise TypeError(f"`seed` (={self.seed!r}) must be a whole number")
        if not -(2**63) <= int(self.seed) < 2**63:
            raise ValueError(f"`seed` (={self.seed!r}) must be a number of 64 bits, as torch takes it")
        if not isinstance(self.candidates, SupportsIndex) or isinstance(self.candidates, bool):
            raise TypeError(f"`candidates` (={self.candidates!r}) must be a whole number")
        if int(self.candidates) < 1:
            raise ValueError(f"`candidates` (={self.candidates!r}) must be 1 or more")
        if int(self.candidates) > 1 and self.task == "detection":
            raise ValueError(
                f"`candidates` (={self.candidates!r}) compares outputs, as those of `task` (='detection') cannot be: "
                "it must be 1"
            )
        for name in _NUMBERS:
            if not is_number(getattr(self, name)):
                raise TypeError(f"`{name}` (={getattr(self, name)!r}) must be a number")
        for name in ("clean_share", "halo", "copies", "clutter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` (={getattr(self, name)!r}) must be a share in [0, 1]")
        if not 0 <= self.placement < 1:
            raise ValueError(f"`placement` (={self.placement!r}) must be a share in [0, 1)")
        if not 0 <= self.lighting <= _STRONGEST_LIGHT:
            raise ValueError(f"`lighting` (={self.lighting!r}) must be in [0, {_STRONGEST_LIGHT}]")
        for name in ("placement", "copies"):
            if getattr(self, name) and self.task != "classification":
                raise ValueError(
                    f"`{name}` (={getattr(self, name)!r}) moves objects, which the targets of `task` (={self.task!r}) "
                    "may tell the places of: it must be 0"
                )
        if not 0 <= self.distractors <= MOST_DISTRACTORS:
            raise ValueError(f"`distractors` (={self.distractors!r}) must be in [0, {MOST_DISTRACTORS}]")
        for name in ("clutter", "distractors"):
            if getattr(self, name) and self.task != "classification":
                raise ValueError(
                    f"`{name}` (={getattr(self, name)!r}) shows other objects, which the targets of `task` "
                    f"(={self.task!r}) may have to name: it must be 0"
                )
        if self.task not in task_names():
            raise ValueError(f"`task` (={self.task!r}) must be one of {', '.join(task_names())}{left_out()}")
        check_background(self.background)
        if self.binarization not in get_args(Binarization):
            raise ValueError(
                f"`binarization` (={self.binarization!r}) must be one of {', '.join(map(repr, get_args(Binarization)))}"
            )
        check_mask_generator(self.mask_generator)
        if isinstance(self.mask_objective, SufficiencyNecessity) and self.mask_objective.distance is None:
            objective = replace(self.mask_objective, distance=partial(task_distance, self.task))
            object.__setattr__(self, "mask_objective", objective)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Load plugins as making options does, since a process may only ever unpickle some; raises as that does."""
        plugin_manager.load()
        vars(self).update(state)

    @property
    def kept_area(self) -> float:
        """Share of the pixels that `quantile` keeps: what the paper's hinge leaves free, by default a fifth."""
        objective = self.mask_objective
        return objective.area if isinstance(objective, PaperObjective) else PaperObjective.area

    @classmethod
    def of_attach(cls, options: Mapping[str, Any]) -> "Options":
        """Take the keyword arguments of `attach`, of which None stands for the default.

        Raises:
            TypeError: where one is unknown or of a wrong type.
            ValueError: where one is out of range.
        """
        unknown = sorted(options.keys() - {option.name for option in fields(cls)})
        if unknown:
            raise TypeError(f"`attach` has no option {', '.join(f'`{name}`' for name in unknown)}")
        return cls(**{name: value for name, value in options.items() if value is not None})

    def make_parts(self, shape: tuple[int, int, int], rank: int) -> tuple[Callable[[Tensor], Tensor], BackgroundSource]:
        """Make what was chosen by name: the same mask generator on every rank, other backgrounds.

        Args:
            shape: channels, height and width of the images.
            rank: of this process.

        Returns:
            The mask generator and the background source, on the CPU. The global random streams stay as they were.
        """
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            # `torch.manual_seed` would seed the GPUs' streams as well.
            torch.default_generator.manual_seed(self.seed)
            mask_generator = make_mask_generator(self.mask_generator, shape)
            source = make_source(self.background, shape, torch.Generator().manual_seed(self.seed + rank))
        return mask_generator, source

    def names(self) -> dict[str, str | float]:
        """What a saved state says about the parts: their names, or the class of a part of one's own."""
        return {
            "task": self.task,
            "mask_generator": _mask_generator_name(self.mask_generator),
            "background": background_name(self.background),
            "binarization": self.binarization,
            # NumPy's numbers are none to `torch.load(weights_only=True)`.
            **{name: float(getattr(self, name)) for name in _NUMBERS},
            "candidates": int(self.candidates),
            "hold_statistics": self.hold_statistics,
        }

    def check_saved(self, names: Mapping[str, Any]) -> None:
        """Check that a state was saved with parts of these kinds; other options that differ are warned of.

        Args:
            names: what `names()` said then; options that there were not yet had their defaults.

        Raises:
            RuntimeError: where a part was another.
        """
        saved, ours = {**Options().names(), **names}, self.names()
        for part in ("mask_generator", "background"):
            if saved[part] != ours[part]:
                raise RuntimeError(
                    f"`state_dict` was saved with `{part}` {saved[part]!r}, but these companions have {ours[part]!r}"
                )
        others = [f"`{name}` {saved[name]!r}, now {ours[name]!r}" for name in ours if saved[name] != ours[name]]
        if others:
            warn(
                f"`state_dict` was saved with other options, and these companions go on with their own: "
                f"{'; '.join(others)}"
            )


def _mask_generator_name(part: str | Callable[[Tensor], Tensor]) -> str:
    return part if isinstance(part, str) else getattr(part, "__qualname__", type(part).__qualname__)

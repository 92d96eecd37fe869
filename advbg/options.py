"""What can be chosen about the companions, checked before any work is done."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from torch import Tensor

from advbg.backgrounds import SOURCE_NAMES, BackgroundSource
from advbg.masks import Binarization, MaskObjective, SufficiencyNecessity, check_mask_generator
from advbg.schedule import Schedule


@dataclass(frozen=True)
class Options:
    """Everything that can be chosen about the companions; see `AdversarialBackground` for what each means."""

    schedule: Schedule = field(default_factory=Schedule)
    clean_share: float = 0.25
    mask_generator: str | Callable[[Tensor], Tensor] = "unet"
    mask_objective: MaskObjective = field(default_factory=SufficiencyNecessity)
    binarization: Binarization = "otsu"
    halo: float = 1 / 16
    background: str | BackgroundSource = "adversarial"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("clean_share", "halo"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` (={getattr(self, name)!r}) must be a share in [0, 1]")
        if isinstance(self.background, str) and self.background not in SOURCE_NAMES:
            raise ValueError(
                f"`background` (={self.background!r}) must be one of {', '.join(SOURCE_NAMES)}, or a source of your own"
            )
        if not isinstance(self.background, str) and not isinstance(self.background, BackgroundSource):
            raise TypeError(f"`background` (={self.background!r}) must have a method `sample(count, shape, generator)`")
        if self.binarization not in get_args(Binarization):
            raise ValueError(
                f"`binarization` (={self.binarization!r}) must be one of {', '.join(get_args(Binarization))}"
            )
        check_mask_generator(self.mask_generator)

    def names(self) -> dict[str, str | float]:
        """What a saved state says about the parts: their names, or the class of a part of one's own."""
        return {
            "mask_generator": _name(self.mask_generator),
            "background": _name(self.background),
            "binarization": self.binarization,
            "halo": self.halo,
            "clean_share": self.clean_share,
        }

    def check_saved(self, names: Mapping[str, Any]) -> None:
        """Check that a state was saved with parts of these kinds.

        Args:
            names: what `names()` said then.

        Raises:
            RuntimeError: where a part was another.
        """
        for part in ("mask_generator", "background"):
            ours = self.names()[part]
            if names[part] != ours:
                raise RuntimeError(
                    f"`state_dict` was saved with `{part}` {names[part]!r}, but these companions have {ours!r}"
                )


def _name(part: object) -> str:
    return part if isinstance(part, str) else getattr(part, "__qualname__", type(part).__qualname__)

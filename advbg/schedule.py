"""The three phases of training, counted in optimiser steps (paper, section III)."""

from dataclasses import dataclass
from typing import Literal, SupportsIndex, get_args

Phase = Literal["classifier", "mask", "adversarial"]

# In their order.
PHASES: tuple[Phase, ...] = get_args(Phase)


@dataclass(frozen=True)
class Schedule:
    """How many optimiser steps the first two phases last; the adversarial phase lasts from then on.

    Args:
        classifier: steps of plain training, so that the model has something to say about masks.
            0 for a model that is trained already.
        mask: steps in which the mask generator learns beside the model. Skipped when masks are given.

    Raises:
        ValueError: where a number of steps is negative or not whole.
    """

    classifier: int = 1000
    mask: int = 500

    def __post_init__(self) -> None:
        for name in ("classifier", "mask"):
            steps = getattr(self, name)
            if not isinstance(steps, SupportsIndex) or isinstance(steps, bool) or steps.__index__() < 0:
                raise ValueError(f"`{name}` (={steps!r}) must be a whole number of optimiser steps, 0 or more")
            object.__setattr__(self, name, steps.__index__())  # NumPy's are none to a saved state

    @classmethod
    def fractions(cls, total_steps: SupportsIndex, classifier: float = 0.3, mask: float = 0.05) -> "Schedule":
        """Share out a known number of optimiser steps.

        Args:
            total_steps: optimiser steps of the whole training; as many as there are phases, at least.
            classifier: share of the steps in the classifier phase, in [0, 1].
            mask: share of the steps in the mask phase, in [0, 1].

        Returns:
            A schedule whose adversarial phase has the remaining steps. However few there are, each phase whose share
            is above 0 has one step at least, and so has the adversarial phase.

        Raises:
            ValueError: where a share is outside [0, 1], both leave nothing to the adversarial phase, or
                `total_steps` is no whole number or less than one for each phase.
        """
        if not isinstance(total_steps, SupportsIndex) or isinstance(total_steps, bool):
            raise ValueError(f"`total_steps` (={total_steps!r}) must be a whole number of optimiser steps")
        steps = total_steps.__index__()
        for name, share in (("classifier", classifier), ("mask", mask)):
            if not 0 <= share <= 1:
                raise ValueError(f"`{name}` (={share!r}) must be a share of the steps in [0, 1]")
        if classifier + mask >= 1:
            raise ValueError(
                f"`classifier` + `mask` (={classifier!r} + {mask!r}) must be under 1, to leave steps to the "
                "adversarial phase"
            )
        least_classifier, least_mask = int(classifier > 0), int(mask > 0)
        least = least_classifier + least_mask + 1
        if steps < least:
            raise ValueError(f"`total_steps` (={steps}) must be {least} or more, one for each phase")
        mask_steps = min(max(round(steps * mask), least_mask), steps - least_classifier - 1)
        classifier_steps = min(max(round(steps * classifier), least_classifier), steps - mask_steps - 1)
        return cls(classifier_steps, mask_steps)

    def phase(self, step: int, *, masks_given: bool = False) -> Phase:
        """Name the phase of the optimiser step with this number.

        Args:
            step: optimiser steps taken so far.
            masks_given: whether there is nothing to learn about masks, so that the mask phase is skipped.
        """
        if step < self.classifier:
            return "classifier"
        if step < self.classifier + self.mask and not masks_given:
            return "mask"
        return "adversarial"

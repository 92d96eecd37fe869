"""The schedule of a trainer that knows how long it trains."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advbg.attachment import STEPS_OF_A_TRAINING, Attachment
from advbg.schedule import Schedule

_PHASES = 3


def with_schedule(options: Mapping[str, Any], total_steps: float) -> dict[str, Any]:
    """Give options the trainer's length where they have no schedule.

    Args:
        options: of `advbg.attach`.
        total_steps: optimiser steps of the whole training; infinite or negative where the trainer does not know them.

    Returns:
        The options with a schedule: their own, or shares of the steps as by `Schedule.fractions`. In a trial of less
        steps than phases it is the default, whose first phase is longer.

    Raises:
        ValueError: where there is neither a schedule nor a length.
    """
    schedule = options.get("schedule")
    if schedule is None and (total_steps < 0 or math.isinf(total_steps)):
        raise ValueError(
            "the trainer does not say how many steps it takes: pass "
            "`schedule=Schedule(classifier=..., mask=...)` to the callback, or a length to the trainer"
        )
    if schedule is None:
        schedule = Schedule.fractions(int(total_steps)) if total_steps >= _PHASES else Schedule()
    elif isinstance(schedule, Schedule) and STEPS_OF_A_TRAINING <= total_steps <= schedule.classifier:
        warnings.warn(
            f"`schedule` (={schedule!r}) has more steps before the adversarial phase than the training, which has "
            f"{total_steps}: it will see no other background; without `schedule` its phases are shares of the training",
            stacklevel=2,
        )
    return dict(options) | {"schedule": schedule}


def go_on(attachment: Attachment, state: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Load the companions' state; without a schedule of one's own the run keeps that which it began with.

    Args:
        attachment: of the run that goes on.
        state: from `companions.state_dict()`.
        options: that the callback was given.

    Raises:
        RuntimeError: where the state is of companions of another kind or shape.
    """
    companions = attachment.companions
    companions.load_state_dict(state)
    if options.get("schedule") is None:
        # A training that is made longer would fall back into an earlier phase by shares of its new length.
        classifier, mask = state["_extra_state"]["schedule"]
        companions.options = replace(companions.options, schedule=Schedule(classifier, mask))

"""The schedule of a trainer that knows how long it trains."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from advbg.attachment import STEPS_OF_A_TRAINING
from advbg.companions import Companions
from advbg.companions_state import saved_schedule
from advbg.masks import is_learned
from advbg.schedule import PHASES, Schedule
from advbg.warning import warn


def fit_schedule(companions: Companions, given: Schedule | None, total_steps: float) -> None:
    """Give companions a schedule that fits the trainer, before its first step.

    Without a schedule of the user's, the phases are shares of the steps as by `Schedule.fractions`, but in a trial of
    less steps than phases, and in a run that goes on, which keeps its own: a training that is made longer would fall
    back into an earlier phase.

    Args:
        companions: attached, and restored where the run goes on.
        given: the user's schedule, or None.
        total_steps: optimiser steps of the whole training; infinite or negative where the trainer does not know them.

    Raises:
        ValueError: where there is neither a schedule nor a length.
    """
    if given is not None:
        _warn_if_too_long(companions, given, total_steps)
    elif not companions.step_count:
        if total_steps < 0 or math.isinf(total_steps):
            raise ValueError(
                "the trainer does not say how many steps it takes: pass "
                "`schedule=Schedule(classifier=..., mask=...)` to the callback, or a length to the trainer"
            )
        if total_steps >= len(PHASES):
            companions.options = replace(companions.options, schedule=Schedule.fractions(int(total_steps)))


def go_on(companions: Companions, state: Mapping[str, Any], given: Schedule | None) -> None:
    """Load the companions' state, and the schedule that it was saved with unless the user has given one.

    Args:
        companions: of the run that goes on.
        state: from `companions.state_dict()`.
        given: the user's schedule, or None.

    Raises:
        RuntimeError: where the state is of companions of another kind or shape.
    """
    if given is None:
        companions.options = replace(companions.options, schedule=saved_schedule(state.get("_extra_state", {})))
    companions.load_state_dict(state)


def _warn_if_too_long(companions: Companions, schedule: Schedule, total_steps: float) -> None:
    before = schedule.classifier + is_learned(companions.options.mask_generator) * schedule.mask
    if STEPS_OF_A_TRAINING <= total_steps <= before:
        warn(
            f"`schedule` (={schedule!r}) leaves no step to the adversarial phase in a training of {total_steps}, "
            "unless masks are given: without `schedule`, its phases are shares of the training"
        )

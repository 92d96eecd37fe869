"""Phases by optimiser steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from advbg import Schedule
from tests.models import run_without_type_checks


@given(classifier=st.integers(0, 50), mask=st.integers(0, 50), step=st.integers(0, 200), masks_given=st.booleans())
def test_phases_follow_each_other_by_their_steps(classifier: int, mask: int, step: int, masks_given: bool) -> None:
    phases = ["classifier"] * classifier + ([] if masks_given else ["mask"] * mask) + ["adversarial"] * 300
    assert Schedule(classifier, mask).phase(step, masks_given=masks_given) == phases[step]


@given(total=st.integers(3, 10**6), classifier=st.floats(0, 0.5), mask=st.floats(0, 0.4))
def test_fractions_share_out_the_steps_and_leave_no_phase_without(total: int, classifier: float, mask: float) -> None:
    schedule = Schedule.fractions(total, classifier=classifier, mask=mask)
    assert abs(schedule.classifier - total * classifier) <= 1
    assert abs(schedule.mask - total * mask) <= 1
    assert (schedule.classifier > 0) == (classifier > 0)
    assert (schedule.mask > 0) == (mask > 0)
    assert schedule.classifier + schedule.mask < total


def test_numpys_whole_numbers_are_some() -> None:
    assert Schedule.fractions(np.int64(1004)) == Schedule(classifier=301, mask=50)
    # Within this suite beartype would refuse them first.
    run_without_type_checks(
        """
        import numpy
        from advbg import Schedule
        schedule = Schedule(numpy.int32(301), numpy.uint8(50))
        assert schedule == Schedule(301, 50) and type(schedule.classifier) is int
        """
    )


def test_many_steps_are_shared_out_to_the_nearest_step() -> None:
    assert Schedule.fractions(1004) == Schedule(classifier=301, mask=50)


@pytest.mark.parametrize(("name", "value"), [("classifier", -1), ("mask", 1.5), ("classifier", True)])
def test_steps_that_are_no_count_are_refused(name: str, value: object) -> None:
    # Set as beartype, which checks the types in this suite, would not let it pass.
    schedule = object.__new__(Schedule)
    for field in ("classifier", "mask"):
        object.__setattr__(schedule, field, value if field == name else 1)
    with pytest.raises(ValueError, match=rf"`{name}` \(={value}\)"):
        schedule.__post_init__()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"total_steps": 2}, r"`total_steps` \(=2\) must be 3 or more"),
        ({"total_steps": 0, "classifier": 0.0, "mask": 0.0}, r"`total_steps` \(=0\) must be 1 or more"),
        ({"total_steps": 10, "classifier": 1.2}, r"`classifier` \(=1.2\)"),
        ({"total_steps": 10, "mask": -0.2}, r"`mask` \(=-0.2\)"),
        ({"total_steps": 10, "classifier": 0.6, "mask": 0.4}, "must be under 1"),
    ],
)
def test_shares_that_leave_nothing_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule.fractions(**arguments)


@pytest.mark.parametrize(("classifier", "mask"), [(0.05, 0.9), (0.9, 0.05)])
def test_of_as_many_steps_as_phases_each_has_one_however_large_a_share_is(classifier: float, mask: float) -> None:
    assert Schedule.fractions(3, classifier=classifier, mask=mask) == Schedule(classifier=1, mask=1)


def test_true_is_no_number_of_steps() -> None:
    with pytest.raises(ValueError, match=r"`total_steps` \(=True\) must be a whole number"):
        Schedule.fractions(True, classifier=0.0, mask=0.0)

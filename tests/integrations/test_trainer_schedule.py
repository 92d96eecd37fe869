"""The phases' lengths, where a trainer knows how long it trains."""

import math
from pathlib import Path
from typing import Any

import pytest

from advbg import Schedule
from advbg.integrations.trainer_schedule import with_schedule

pytest.importorskip("lightning")

from advbg.integrations.lightning import AdversarialBackgroundCallback
from tests.integrations.lightning_runs import MARKS, a_trainer, fit

pytestmark = MARKS


def _schedule(callback: AdversarialBackgroundCallback) -> Schedule:
    assert callback.attachment is not None
    return callback.attachment.companions.options.schedule


@pytest.mark.parametrize(
    ("epochs", "options", "steps"),
    [(10, {}, 20), (10, {"accumulate_grad_batches": 2}, 10), (10, {"max_steps": 7}, 7)],
)
def test_without_a_schedule_the_phases_are_shares_of_lightnings_steps(
    epochs: int, options: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    callback = AdversarialBackgroundCallback()
    trainer, _ = fit(tmp_path, callback, epochs, batches=2, **options)
    assert trainer.global_step == steps
    assert _schedule(callback) == Schedule.fractions(steps)
    assert callback.attachment.phase == "adversarial"


def test_a_run_that_is_resumed_for_longer_keeps_the_schedule_that_it_began_with(tmp_path: Path) -> None:
    trainer, _ = fit(tmp_path, AdversarialBackgroundCallback(), 6)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = AdversarialBackgroundCallback()
    fit(tmp_path, resumed, 40, checkpoint=tmp_path / "run.ckpt")
    assert _schedule(resumed) == Schedule.fractions(6)


def test_a_schedule_that_is_given_counts_in_a_run_that_is_resumed(tmp_path: Path) -> None:
    trainer, _ = fit(tmp_path, AdversarialBackgroundCallback(), 6)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    resumed = AdversarialBackgroundCallback(schedule=Schedule(3, 2))
    fit(tmp_path, resumed, 8, checkpoint=tmp_path / "run.ckpt")
    assert _schedule(resumed) == Schedule(3, 2)


def test_a_trial_of_one_batch_goes_through(tmp_path: Path) -> None:
    callback = AdversarialBackgroundCallback()
    fit(tmp_path, callback, 1, fast_dev_run=True)
    assert callback.attachment.companions.step_count == 1


def test_a_trainer_without_an_end_needs_a_schedule(tmp_path: Path) -> None:
    trainer = a_trainer(tmp_path, None, -1)
    assert math.isinf(trainer.estimated_stepping_batches)
    with pytest.raises(ValueError, match=r"pass `schedule=Schedule\(classifier=..., mask=...\)`"):
        fit(tmp_path, AdversarialBackgroundCallback(), -1)


@pytest.mark.parametrize("steps", [-1, math.inf])
def test_a_length_that_nobody_knows_is_asked_for_unless_there_is_a_schedule(steps: float) -> None:
    with pytest.raises(ValueError, match="does not say how many steps"):
        with_schedule({"halo": 0.0}, steps)
    options = {"halo": 0.0, "schedule": Schedule(5, 5)}
    assert with_schedule(options, steps) == options


def test_a_schedule_that_leaves_nothing_to_the_adversarial_phase_is_warned_of_before_training() -> None:
    with pytest.warns(UserWarning, match=r"`schedule` .* the training, which has 100: it will see no other background"):
        with_schedule({"schedule": Schedule()}, 100)

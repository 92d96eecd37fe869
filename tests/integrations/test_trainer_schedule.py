"""The phases' lengths, where a trainer knows how long it trains."""

import math
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from advbg import AdversarialBackground, Schedule
from advbg.integrations.trainer_schedule import fit_schedule
from tests.models import a_batch, tiny_classifier

pytest.importorskip("lightning")

from lightning.pytorch.callbacks import EarlyStopping, GradientAccumulationScheduler, ModelCheckpoint

from advbg.integrations.lightning import AdversarialBackgroundCallback
from tests.integrations.lightning_runs import MARKS, Module, ValidatedModule, a_loader, a_trainer, fit

pytestmark = MARKS


def _schedule(callback: AdversarialBackgroundCallback) -> Schedule:
    assert callback.attachment is not None
    return callback.attachment.companions.options.schedule


@pytest.mark.parametrize(
    ("batches", "options", "steps"),
    [
        (2, {}, 20),
        (2, {"accumulate_grad_batches": 2}, 10),
        (3, {"accumulate_grad_batches": 2}, 20),
        (2, {"max_steps": 7}, 7),
    ],
)
def test_without_a_schedule_the_phases_are_shares_of_lightnings_steps(
    batches: int, options: dict[str, Any], steps: int, tmp_path: Path
) -> None:
    callback = AdversarialBackgroundCallback()
    trainer, _ = fit(tmp_path, callback, 10, batches=batches, **options)
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


@pytest.mark.parametrize(("most", "steps"), [(-1, 2 * 5 + 10 * 2), (7, 7)])
def test_accumulation_that_changes_over_the_epochs_is_counted(most: int, steps: int, tmp_path: Path) -> None:
    callback = AdversarialBackgroundCallback()
    trainer = a_trainer(tmp_path, callback, 12, max_steps=most)
    trainer.callbacks.append(GradientAccumulationScheduler({2: 4}))
    trainer.fit(Module(), a_loader(batches=5))
    assert trainer.global_step == steps
    assert _schedule(callback) == Schedule.fractions(steps)


@pytest.mark.parametrize("given", [True, False])
def test_a_trainer_that_may_stop_early_is_warned_of_unless_there_is_a_schedule(given: bool, tmp_path: Path) -> None:
    options = {"schedule": Schedule(1, 1)} if given else {}
    trainer = a_trainer(tmp_path, AdversarialBackgroundCallback(**options), 3)
    trainer.callbacks.append(EarlyStopping("validation_loss", patience=9))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(ValidatedModule(), a_loader(), a_loader())
    said = [str(warning.message) for warning in caught if "EarlyStopping may end it before" in str(warning.message)]
    assert len(said) == (not given)


def test_several_optimizers_that_share_a_number_of_steps_need_a_schedule(tmp_path: Path) -> None:
    class Two(Module):
        automatic_optimization = False

        def configure_optimizers(self) -> Any:
            return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]

        def training_step(self, batch: list[Tensor]) -> Tensor:
            loss = super().training_step(batch)
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            return loss

    with pytest.raises(ValueError, match="does not say how many steps"):
        a_trainer(tmp_path, AdversarialBackgroundCallback(), 9, max_steps=10).fit(Two(), a_loader())


class _Stateful:
    """A loader that says where it is, as torchdata's does."""

    def __init__(self) -> None:
        self.began_at = self.position = 0
        self.seen: list[int] = []

    def __len__(self) -> int:
        return 6

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in range(self.began_at, len(self)):
            self.seen.append(index)
            self.position = index + 1
            yield a_batch(seed=index)
        self.began_at = 0

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.began_at = state["position"]


@pytest.mark.parametrize("options", [None, {}, {"schedule": Schedule(2, 2)}], ids=["without us", "shares", "given"])
def test_a_loader_goes_on_where_it_was(options: dict[str, Any] | None, tmp_path: Path) -> None:
    def run(checkpoint: Path | None, **limits: Any) -> list[int]:
        loader, module = _Stateful(), Module()
        module.fail_at = -1 if checkpoint else 3
        trainer = a_trainer(tmp_path, None if options is None else AdversarialBackgroundCallback(**options), 1)
        keeper = ModelCheckpoint(tmp_path, every_n_train_steps=2, save_top_k=-1, filename="{step}")
        trainer.callbacks.append(keeper)
        with pytest.raises(RuntimeError, match="out of luck") if checkpoint is None else nullcontext():
            trainer.fit(module, loader, ckpt_path=checkpoint)
        return loader.seen

    assert run(None) == [0, 1, 2, 3]
    assert run(tmp_path / "step=2.ckpt")[0] == 2


def test_data_that_are_made_when_fitting_starts_are_there(tmp_path: Path) -> None:
    class Prepared(Module):
        def on_fit_start(self) -> None:
            self.loader = a_loader()

        def train_dataloader(self) -> Any:
            return self.loader

    trainer = a_trainer(tmp_path, AdversarialBackgroundCallback(), 3)
    trainer.fit(Prepared())
    assert trainer.global_step == 3


def test_a_run_that_fails_is_not_told_about_its_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbg.attachment.STEPS_OF_A_TRAINING", 1)
    module = Module()
    module.fail_at = 2
    with pytest.raises(RuntimeError, match="out of luck"):  # and no warning, which is an error in this suite
        a_trainer(tmp_path, AdversarialBackgroundCallback(), 20).fit(module, a_loader())


@pytest.mark.parametrize(("steps", "schedule"), [(3, Schedule.fractions(3)), (2, Schedule())])
def test_a_training_of_as_many_steps_as_phases_has_them_all_and_a_shorter_trial_keeps_the_default(
    steps: int, schedule: Schedule
) -> None:
    companions = AdversarialBackground(tiny_classifier()).companions
    fit_schedule(companions, None, steps)
    assert companions.options.schedule == schedule


@pytest.mark.parametrize("steps", [-1, math.inf])
def test_a_length_that_nobody_knows_is_asked_for_unless_there_is_a_schedule(steps: float) -> None:
    companions = AdversarialBackground(tiny_classifier()).companions
    with pytest.raises(ValueError, match="does not say how many steps"):
        fit_schedule(companions, None, steps)
    fit_schedule(companions, Schedule(5, 5), steps)


@pytest.mark.parametrize(
    ("schedule", "options", "warned"),
    [
        (Schedule(100, 0), {"mask_generator": "nonzero"}, True),
        (Schedule(60, 60), {}, True),
        (Schedule(60, 60), {"mask_generator": "nonzero"}, False),
        (Schedule(60, 39), {}, False),
    ],
)
def test_a_schedule_that_leaves_nothing_to_the_adversarial_phase_is_warned_of_before_training(
    schedule: Schedule, options: dict[str, Any], warned: bool
) -> None:
    companions = AdversarialBackground(tiny_classifier(), schedule=schedule, **options).companions
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit_schedule(companions, schedule, 100)
    assert [str(warning.message)[:10] for warning in caught] == ["`schedule`"] * warned

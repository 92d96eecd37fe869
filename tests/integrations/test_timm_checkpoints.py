"""What timm's checkpoints hold, and how runs go on from them."""

import copy
from pathlib import Path

import pytest
from timm.task import ClassificationTask, resume_task_checkpoint
from timm.utils import CheckpointSaver

from advbg.integrations.timm import AdversarialBackgroundTask
from tests.integrations.timm_runs import SCHEDULE, a_model, a_task, an_optimizer, same, train


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_run_resumed_by_timm_in_any_phase_goes_on_bit_for_bit(tmp_path: Path, steps: int) -> None:
    task = a_task()
    optimizer = an_optimizer(task)
    task.setup_ema(decay=0.9)
    train(task, optimizer, steps)
    saver = CheckpointSaver(
        task.get_trainable_module(), optimizer, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path), task=task
    )
    saver.save_recovery(0)
    unbroken = train(task, optimizer, 4, first=steps)

    resumed = AdversarialBackgroundTask(a_model(seed=1), verbose=False, schedule=SCHEDULE)
    resumed_optimizer = an_optimizer(resumed)
    assert resume_task_checkpoint(resumed, str(tmp_path / "recovery-0-0.pth.tar"), resumed_optimizer) == 1
    assert resumed.companions.step_count == steps
    assert train(resumed, resumed_optimizer, 4, first=steps) == unbroken
    assert same(resumed.trainable_module.state_dict(), task.trainable_module.state_dict())


def test_a_checkpoint_is_a_plain_models_and_the_companions_lie_beside_it() -> None:
    task = a_task()
    task.setup_ema(decay=0.5)
    train(task, an_optimizer(task), 4)
    state = {**task.get_checkpoint_state(), **task.get_checkpoint_state(ema=True)}
    assert set(state) == {"state_dict", "task_state", "state_dict_ema"}
    assert set(state["task_state"]) == {"companions"}
    for name in ("state_dict", "state_dict_ema"):
        a_model(seed=1).load_state_dict(state[name], strict=True)


def test_a_plain_checkpoint_starts_the_companions_afresh_and_says_so() -> None:
    plain, task = ClassificationTask(a_model(seed=1), verbose=False), a_task()
    with pytest.warns(UserWarning, match="saved without adversarial backgrounds"):
        task.load_checkpoint_state(plain.get_checkpoint_state()["state_dict"])
    assert task.companions.step_count == 0
    assert same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())


def test_a_plain_task_takes_a_checkpoint_with_companions() -> None:
    task, plain = a_task(), ClassificationTask(a_model(seed=1), verbose=False)
    train(task, an_optimizer(task), 2)
    plain.load_checkpoint_state(**task.get_checkpoint_state())
    assert same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())


def test_the_emas_checkpoint_leaves_the_companions_alone() -> None:
    task = a_task()
    task.setup_ema()
    optimizer = an_optimizer(task)
    train(task, optimizer, 2)
    saved = copy.deepcopy(task.get_checkpoint_state())
    train(task, optimizer, 1, first=2)
    task.load_checkpoint_state(saved["state_dict"], saved["task_state"], ema=True)
    assert task.companions.step_count == 3


def test_companions_of_another_kind_are_refused() -> None:
    task = a_task(background="noise")
    with pytest.raises(RuntimeError, match="saved with `background` 'adversarial'"):
        task.load_task_state(a_task().get_task_state())

"""Which of several optimisers the companions of timm's task follow."""

import pytest
import torch

from advbg import Schedule
from advbg.integrations.timm import AdversarialBackgroundTask
from tests.integrations.timm_runs import a_task, an_optimizer, some_images, train


def _two_optimizers(task: AdversarialBackgroundTask) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Of the head, and of everything."""
    return torch.optim.SGD(task.trainable_module.get_classifier().parameters(), lr=0.1), an_optimizer(task)


def _step(task: AdversarialBackgroundTask, *optimizers: torch.optim.Optimizer) -> None:
    """One batch, after which they step in this order."""
    task(*some_images())["loss"].backward()
    for optimizer in optimizers:
        optimizer.step()


def test_an_optimiser_that_takes_the_place_of_another_is_followed_from_its_second_step() -> None:
    task = a_task()
    head, everything = _two_optimizers(task)
    train(task, head, 2)
    train(task, everything, 3)
    assert task.companions.step_count == 4


def test_optimisers_that_step_together_count_once_in_whatever_order() -> None:
    task = a_task(schedule=Schedule(classifier=100))
    head, everything = _two_optimizers(task)
    _step(task, head, everything)
    followed = task.companions.attachment
    for optimizers in [(everything, head)] * 3 + [(head, everything)] * 3:
        _step(task, *optimizers)
    assert task.companions.step_count == 7
    assert task.companions.attachment is followed


def test_of_optimisers_that_take_turns_the_first_stays() -> None:
    task = a_task(schedule=Schedule(classifier=100))
    head, everything = _two_optimizers(task)
    for optimizer in [head, everything] * 3:
        _step(task, optimizer)
    assert task.companions.step_count == 3


def test_an_optimiser_that_steps_twice_after_a_batch_takes_no_place() -> None:
    task = a_task(schedule=Schedule(classifier=100))
    head, everything = _two_optimizers(task)
    for optimizers in [(head,), (everything, everything, head)]:
        _step(task, *optimizers)
    assert task.companions.step_count == 2


def test_a_model_that_no_optimiser_steps_any_more_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbg.attachment._PATIENCE", 3)
    task = a_task()
    optimizer = an_optimizer(task)
    train(task, optimizer, 2)
    for _ in range(3):
        _step(task)
    with pytest.warns(UserWarning, match="the optimizer that the backgrounds follow has not stepped for 3 batches"):
        _step(task)

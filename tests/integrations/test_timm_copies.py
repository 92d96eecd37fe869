"""Copies of timm's task."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from timm.optim import create_optimizer_v2
from torch import nn

from advbg import Schedule
from advbg.integrations.timm import AdversarialBackgroundTask
from tests.models import a_batch, tiny_classifier


@pytest.mark.parametrize("make", [copy.deepcopy, lambda task: pickle.loads(pickle.dumps(task))])
def test_a_copy_attaches_itself_to_the_optimizer_of_its_own_model(
    make: Callable[[AdversarialBackgroundTask], AdversarialBackgroundTask],
) -> None:
    task = AdversarialBackgroundTask(
        tiny_classifier(), nn.CrossEntropyLoss(), verbose=False, schedule=Schedule(1, 1), mask_generator="nonzero"
    )
    other = make(task)
    optimizer = create_optimizer_v2(other.trainable_module, opt="sgd", lr=0.1)
    for step in range(3):
        other(*a_batch(seed=step))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert (other.companions.step_count, other.companions.phase) == (3, "adversarial")
    assert (task.companions.step_count, task.companions.attached) == (0, False)
    assert not torch.equal(task.trainable_module[0].weight, other.trainable_module[0].weight)

"""Beside DistributedDataParallel, in one process."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, tiny_classifier


@pytest.fixture
def process_group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
@pytest.mark.parametrize("outside", [True, False], ids=["parallel of the wrapper", "wrapper of the parallel"])
def test_every_phase_trains_with_accumulation_and_buckets_of_the_model_alone(outside: bool) -> None:
    model = tiny_classifier(batch_norm=True)
    if outside:
        wrapper = AdversarialBackground(model, schedule=Schedule(1, 1))
        called: nn.Module = DistributedDataParallel(wrapper)
        parallel = called
    else:
        parallel = DistributedDataParallel(model)
        called = wrapper = AdversarialBackground(parallel, schedule=Schedule(1, 1))
    optimizer = torch.optim.SGD(called.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    for phase in ("classifier", "mask", "adversarial", "adversarial"):
        assert wrapper.phase == phase
        images, targets = a_batch()
        with parallel.no_sync():
            F.cross_entropy(called(images), targets).backward()
        F.cross_entropy(called(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert {id(p) for p in called.parameters()} == {id(p) for p in model.parameters()}
    assert list(parallel.state_dict()) == [f"module.{name}" for name in model.state_dict()]

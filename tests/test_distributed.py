"""Beside DistributedDataParallel, in one process."""

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier


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


def _on_rank(rank: int, patch: pytest.MonkeyPatch, background: str) -> tuple[Tensor, list[Tensor]]:
    """What is drawn there first, and the weights of what draws it."""
    with patch.context() as here:
        here.setattr(dist, "is_initialized", lambda: True)
        here.setattr(dist, "get_rank", lambda: rank)
        wrapper = adversarial_wrapper(background=background)
        drawn = wrapper.generate_parameters(a_batch()[0]).backgrounds
    source = wrapper.companions.source
    return drawn, [p.detach() for p in source.parameters()] if isinstance(source, nn.Module) else []


def test_every_rank_draws_with_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise has no weights, in which it could differ.
    (ours, _), (others, _) = (_on_rank(rank, monkeypatch, "noise") for rank in (0, 1))
    assert not torch.equal(ours, others)


def test_every_rank_begins_with_other_weights_of_its_backgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, ours), (_, others) = (_on_rank(rank, monkeypatch, "adversarial") for rank in (0, 1))
    assert ours
    assert not any(torch.equal(mine, other) for mine, other in zip(ours, others, strict=True))

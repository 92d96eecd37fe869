"""Two processes started by `torchrun`: equal models, equal masks, other backgrounds."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.compatibility.parallel_run import WAYS, learn_masks
from tests.compatibility.torchrun import torchrun
from tests.models import a_batch, adversarial_wrapper


def _same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes became."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(Path(__file__).with_name("parallel_run.py"), str(folder))
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_through_every_phase_as_plainly_on_what_the_model_saw(
    ranks: list[dict[str, Any]], way: str
) -> None:
    first, second = (rank[way] for rank in ranks)
    assert first["phase"] == second["phase"] == "adversarial"
    assert first["changed"]
    assert second["changed"]
    assert _same(first["weights"], second["weights"])
    assert _same(first["weights"], first["plain"])


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_have_learned_the_same_masks_and_draw_other_backgrounds(
    ranks: list[dict[str, Any]], way: str
) -> None:
    first, second = (rank[way] for rank in ranks)
    assert _same(first["masks"], second["masks"])
    assert not _same(first["masks"], first["unlearned"])
    assert not torch.equal(first["backgrounds"], second["backgrounds"])


def test_two_processes_learn_the_masks_that_one_learns_from_both_their_batches(ranks: list[dict[str, Any]]) -> None:
    whole = learn_masks(*a_batch(8))
    for ours, exact in zip(ranks[0]["learned"], whole, strict=True):
        torch.testing.assert_close(ours, exact, rtol=0, atol=1e-4)


def test_a_mask_generator_initialised_apart_is_the_same_after_its_first_step(ranks: list[dict[str, Any]]) -> None:
    assert _same(ranks[0]["own"], ranks[1]["own"])


def _on_rank(monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)


@pytest.mark.parametrize("saved_on", [0, 1])
def test_processes_that_load_one_state_draw_apart_and_the_one_that_saved_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, saved_on: int
) -> None:
    images, _ = a_batch()
    _on_rank(monkeypatch, saved_on)
    saved = adversarial_wrapper()
    saved.generate_parameters(images)
    state = saved.companions.state_dict()
    drawn = {}
    for rank in range(4):
        _on_rank(monkeypatch, rank)
        loaded = adversarial_wrapper()
        loaded.companions.load_state_dict(state)
        drawn[rank] = loaded.generate_parameters(images).backgrounds
    going_on = saved.generate_parameters(images).backgrounds
    assert torch.equal(drawn[saved_on], going_on)
    assert len({tuple(backgrounds.flatten().tolist()) for backgrounds in drawn.values()}) == 4


def test_a_state_of_two_processes_goes_on_in_one_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = a_batch()
    _on_rank(monkeypatch, 0)
    saved = adversarial_wrapper()
    saved.generate_parameters(images)
    state = saved.companions.state_dict()
    monkeypatch.undo()
    alone = adversarial_wrapper(seed=7)
    alone.companions.load_state_dict(state)
    assert torch.equal(alone.generate_parameters(images).backgrounds, saved.generate_parameters(images).backgrounds)

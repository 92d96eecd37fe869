"""The companions of Hugging Face's Trainer where a run goes on with another number of processes."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import TrainerControl, TrainerState, TrainingArguments

from advbg import Schedule
from advbg.companions import Companions
from advbg.integrations.hugging_face import AdversarialBackgroundCallback
from tests.integrations.hugging_face_state import fresh_state  # noqa: F401 (a fixture)
from tests.models import a_batch, tiny_classifier


def _go_on(folder: Path, patch: pytest.MonkeyPatch, *, rank: int, processes: int, step: int = 1) -> Companions:
    """What a process resumes from a checkpoint; it trains with a batch and saves another."""
    args, control = TrainingArguments(str(folder), use_cpu=True), TrainerControl()
    model, (images, _) = tiny_classifier(), a_batch()
    optimizer, state = torch.optim.SGD(model.parameters()), TrainerState(global_step=step, max_steps=9)
    callback = AdversarialBackgroundCallback(schedule=Schedule(0, 1))
    with patch.context() as here:
        here.setattr(TrainingArguments, "world_size", processes)
        here.setattr(TrainingArguments, "process_index", rank)
        here.setattr(dist, "is_initialized", lambda: processes > 1)
        here.setattr(dist, "get_rank", lambda: rank)
        callback.on_train_begin(args, state, control, model=model, optimizer=optimizer)
        assert callback.attachment is not None
        if step == 0:
            model(images)
            state.global_step = 1
            (folder / "checkpoint-1").mkdir(exist_ok=True)
            state.save_to_json(str(folder / "checkpoint-1" / "trainer_state.json"))
            callback.on_save(args, state, control)
        return callback.attachment.companions


def _weights(companions: Companions) -> list[Tensor]:
    return list(companions.source.parameters())


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (2, 3)])
def test_a_process_without_a_state_of_its_own_goes_on_with_that_of_rank_0(
    before: int, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = [_go_on(tmp_path, monkeypatch, rank=rank, processes=before, step=0) for rank in range(before)]
    resumed = _go_on(tmp_path, monkeypatch, rank=after - 1, processes=after)
    assert _weights(first)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(_weights(resumed), _weights(first), strict=True))


def test_processes_that_go_on_with_one_state_draw_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _go_on(tmp_path, monkeypatch, rank=0, processes=1, step=0)
    resumed = [_go_on(tmp_path, monkeypatch, rank=rank, processes=3) for rank in range(3)]
    drawn = {float(torch.rand(1, generator=companions.generator)) for companions in resumed}
    assert len(drawn) == 3


def test_a_process_with_a_state_of_its_own_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, second = [_go_on(tmp_path, monkeypatch, rank=rank, processes=2, step=0) for rank in range(2)]
    resumed = _go_on(tmp_path, monkeypatch, rank=1, processes=3)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(_weights(resumed), _weights(second), strict=True))


@pytest.mark.parametrize(("before", "after"), [(3, 2), (2, 1), (1, 2)])
def test_a_checkpoint_that_is_written_again_keeps_no_state_of_other_processes(
    before: int, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for processes in (before, after):
        for rank in reversed(range(processes)):
            _go_on(tmp_path, monkeypatch, rank=rank, processes=processes, step=0)
        (tmp_path / "checkpoint-1" / "advbg_of_mine.pt").touch()
    ours = {"advbg.pt"} if after == 1 else {f"advbg_{rank}.pt" for rank in range(after)}
    assert {file.name for file in (tmp_path / "checkpoint-1").glob("*.pt")} == ours | {"advbg_of_mine.pt"}

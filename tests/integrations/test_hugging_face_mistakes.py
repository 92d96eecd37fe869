"""What the callback of Hugging Face's Trainer refuses, and what it says."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import TrainerControl, TrainerState, TrainingArguments

from advbg.integrations.hugging_face import AdversarialBackgroundCallback
from tests.integrations.hugging_face_state import fresh_state  # noqa: F401 (a fixture)
from tests.models import tiny_classifier


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clean_share": 2.0}, ValueError, r"`clean_share` \(=2.0\)"),
        ({"colour": 1}, TypeError, "colour"),
        ({"task": "segmentation"}, ValueError, r"`task` \(='segmentation'\) changes targets"),
    ],
)
def test_what_cannot_be_is_refused_when_the_callback_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        AdversarialBackgroundCallback(**options)


def test_data_parallel_goes_around_the_hooks_and_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    _refuses(
        TrainingArguments(str(tmp_path), use_cpu=True), "2 GPUs in one process make the Trainer use nn.DataParallel"
    )


def test_deepspeed_goes_around_the_hooks_and_is_refused(tmp_path: Path) -> None:
    args = TrainingArguments(str(tmp_path), use_cpu=True)
    args.deepspeed = {}
    _refuses(args, "`deepspeed` steps an optimizer of its own")


def _begin(args: TrainingArguments, model: nn.Module, step: int = 0) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    state = TrainerState(global_step=step, max_steps=9)
    AdversarialBackgroundCallback().on_train_begin(args, state, TrainerControl(), model=model, optimizer=optimizer)


def _refuses(args: TrainingArguments, message: str) -> None:
    model = tiny_classifier()
    with pytest.raises(ValueError, match=message):
        _begin(args, model)
    assert not model._forward_pre_hooks


def test_one_gpu_is_none_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", 1)
    model = tiny_classifier()
    _begin(TrainingArguments(str(tmp_path), use_cpu=True), model)
    assert model._forward_pre_hooks


def test_nothing_is_left_on_the_model_where_the_checkpoint_has_no_companions(tmp_path: Path) -> None:
    model = tiny_classifier()
    with pytest.raises(FileNotFoundError, match=r"goes on at step 3, but there is no .*checkpoint-3/advbg\.pt"):
        _begin(TrainingArguments(str(tmp_path), use_cpu=True), model, step=3)
    assert not model._forward_pre_hooks


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "advbg.integrations.hugging_face")
    with pytest.raises(ImportError, match=r"pip install advbg\[transformers\]"):
        importlib.import_module("advbg.integrations.hugging_face")

"""The companions in the hands of Hugging Face's Trainer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import Dataset

from advbg import Schedule
from tests.models import a_batch

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from transformers import (
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from advbg.integrations.hugging_face import AdversarialBackgroundCallback
from tests.integrations.hugging_face_state import fresh_state  # noqa: F401 (a fixture)

# On a machine without a GPU.
pytestmark = pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator is found")
_SCHEDULE = Schedule(classifier=2, mask=2)


class Images(Dataset):
    """Items whose labels come first, as in many a data set on the hub."""

    def __init__(self, count: int) -> None:
        self.images, self.labels = a_batch(count)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"labels": self.labels[index], "pixel_values": self.images[index]}


class Failure(TrainerCallback):
    def __init__(self, fail_at: int) -> None:
        self.fail_at = fail_at

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.fail_at:
            raise RuntimeError("out of luck")


def _model() -> ResNetForImageClassification:
    torch.manual_seed(0)
    # Not a ViT: Transformers 5.23 saves its weights under names that its Trainer does not find when it resumes.
    shape = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**shape, num_labels=4))


def _train(
    folder: Path,
    callback: Any | None,
    steps: int,
    *others: Any,
    images: int = 16,
    resume: Any = None,
    **options: Any,
) -> Trainer:
    """Two batches an epoch, whatever the number of steps; every step is logged and saved."""
    arguments = TrainingArguments(
        str(folder),
        **{
            "per_device_train_batch_size": 8,
            "max_steps": steps,
            "learning_rate": 1e-2,
            "lr_scheduler_type": "constant",
            "logging_steps": 1,
            "save_steps": 1,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
        }
        | options,
    )
    callbacks = [*others] if callback is None else [callback, *others]
    trainer = Trainer(_model(), arguments, train_dataset=Images(images), eval_dataset=Images(8), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def _callback(**options: Any) -> AdversarialBackgroundCallback:
    return AdversarialBackgroundCallback(**({"schedule": _SCHEDULE} | options))


def _losses(trainer: Trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def _hooks(trainer: Trainer) -> int:
    return len(trainer.model._forward_pre_hooks) + len(trainer.optimizer.optimizer._optimizer_step_post_hooks)


def test_the_example_trains_in_all_phases_and_saves_a_plain_model(
    run_example: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = run_example("hugging_face_train")
    companions = torch.load(tmp_path / "output" / "checkpoint-8" / "advbg.pt", weights_only=True)
    assert companions["_extra_state"]["step_count"] == trainer.state.global_step == 8
    type(trainer.model).from_pretrained(tmp_path / "output")


def test_the_example_trains_without_us(run_example: Callable[..., Any], tmp_path: Path) -> None:
    assert run_example("hugging_face_train", "--no-advbg").state.global_step == 8
    assert not list(tmp_path.rglob("advbg*"))


@pytest.mark.parametrize("without", [(), ("--no-advbg",)])
def test_in_the_example_a_pre_trained_model_keeps_its_statistics_with_and_without_us(
    without: tuple[str, ...], run_example: Callable[..., Any], tmp_path: Path
) -> None:
    model = _model()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean)
    model.save_pretrained(tmp_path / "pretrained")
    trained = run_example("hugging_face_train", "--model", str(tmp_path / "pretrained"), *without).model.state_dict()
    means = {name: mean for name, mean in model.state_dict().items() if name.endswith("running_mean")}
    assert means
    for name, mean in means.items():
        assert torch.equal(trained[name].cpu(), mean), name


def test_with_the_companions_switched_off_the_run_is_the_plain_run(tmp_path: Path) -> None:
    plain = _losses(_train(tmp_path / "plain", None, 5))
    assert _losses(_train(tmp_path / "off", _callback(schedule=Schedule(classifier=1000)), 5)) == plain
    assert _losses(_train(tmp_path / "on", _callback(schedule=Schedule(classifier=0, mask=1)), 5)) != plain


@pytest.mark.parametrize(
    "steps", [1, 2, 3, 4, 6], ids=["classifier", "to mask", "mask", "to adversarial", "adversarial"]
)
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, steps: int) -> None:
    whole = _train(tmp_path / "whole", _callback(), steps + 3)
    _train(tmp_path / "broken", _callback(), steps)
    callback = _callback()
    resumed = _train(tmp_path / "broken", callback, steps + 3, resume=True)
    assert callback.attachment.companions.step_count == steps + 3
    assert _losses(resumed) == _losses(whole)
    pairs = zip(resumed.model.parameters(), whole.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_run_that_failed_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", _callback(), 6)
    callback = _callback()
    with pytest.raises(RuntimeError, match="out of luck"):
        _train(tmp_path / "broken", callback, 6, Failure(fail_at=5))
    resumed = _train(tmp_path / "broken", callback, 6, resume=True)
    assert _losses(resumed) == _losses(whole)
    assert _hooks(resumed) == 0


def test_a_checkpoint_elsewhere_is_resumed_where_the_callback_knows_it(tmp_path: Path) -> None:
    whole = _train(tmp_path / "whole", _callback(), 6)
    _train(tmp_path / "broken", _callback(), 5)
    folder = (tmp_path / "broken" / "checkpoint-5").rename(tmp_path / "kept")
    callback = _callback(resume_from_checkpoint=folder)
    resumed = _train(tmp_path / "new", callback, 6, resume=str(folder))
    assert _losses(resumed) == _losses(whole)


def test_a_checkpoint_elsewhere_is_missed_where_the_callback_does_not_know_it(tmp_path: Path) -> None:
    _train(tmp_path / "old", _callback(), 5)
    with pytest.raises(FileNotFoundError, match=r"no .*new/checkpoint-5/advbg\.pt: name the checkpoint's folder as"):
        _train(tmp_path / "new", _callback(), 6, resume=str(tmp_path / "old" / "checkpoint-5"))


def test_a_checkpoint_of_another_run_is_not_mistaken_for_this_one(tmp_path: Path) -> None:
    _train(tmp_path / "one", _callback(), 3)
    _train(tmp_path / "two", _callback(), 3, learning_rate=1e-3)
    with pytest.raises(ValueError, match=r"must be the folder that the Trainer resumes from, but .*two/checkpoint-3"):
        _train(tmp_path / "two", _callback(), 4, resume=str(tmp_path / "one" / "checkpoint-3"))


def test_a_checkpoint_has_the_plain_models_files_and_keys_and_ours_beside_them(tmp_path: Path) -> None:
    _train(tmp_path / "plain", None, 5)
    _train(tmp_path / "ours", _callback(), 5)
    plain, ours = tmp_path / "plain" / "checkpoint-5", tmp_path / "ours" / "checkpoint-5"
    assert {file.name for file in ours.iterdir()} - {file.name for file in plain.iterdir()} == {"advbg.pt"}
    assert load_file(ours / "model.safetensors").keys() == load_file(plain / "model.safetensors").keys()
    states = [json.loads((folder / "trainer_state.json").read_text()) for folder in (plain, ours)]
    assert states[0]["stateful_callbacks"].keys() == states[1]["stateful_callbacks"].keys()


def test_nothing_of_ours_is_kept_where_nothing_can_be_resumed(tmp_path: Path) -> None:
    _train(tmp_path, _callback(), 2, save_only_model=True)
    assert not list(tmp_path.rglob("advbg*"))
    callback = _callback()
    trainer = _train(tmp_path, callback, 1, save_strategy="no")
    trainer.state.is_hyper_param_search = True
    callback.on_save(trainer.args, trainer.state, trainer.control)
    assert not list(tmp_path.rglob("advbg*"))


def test_every_process_keeps_its_own_adversaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback = _callback()
    trainer = _train(tmp_path, callback, 1)
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    for rank in (0, 1):
        monkeypatch.setattr(TrainingArguments, "process_index", rank)
        callback.on_save(trainer.args, trainer.state, trainer.control)
    names = {file.name for file in (tmp_path / "checkpoint-1").glob("*advbg*")}
    assert names == {"advbg_0.pt", "advbg_1.pt"}


def test_the_companions_step_with_the_optimizer_not_with_the_batches(tmp_path: Path) -> None:
    callback = _callback()
    trainer = _train(tmp_path, callback, 5, images=32, gradient_accumulation_steps=2)
    assert callback.attachment.companions.step_count == trainer.state.global_step == 5
    assert callback.attachment.phase == "adversarial"


def test_without_a_schedule_the_phases_are_shares_of_the_trainers_steps(tmp_path: Path) -> None:
    callback = AdversarialBackgroundCallback()
    trainer = _train(tmp_path, callback, -1, num_train_epochs=4)
    assert trainer.state.global_step == 8
    assert callback.attachment.companions.options.schedule == Schedule.fractions(8)


def test_a_run_that_is_resumed_for_longer_keeps_the_schedule_that_it_began_with(tmp_path: Path) -> None:
    _train(tmp_path, AdversarialBackgroundCallback(), 5)
    resumed = AdversarialBackgroundCallback()
    _train(tmp_path, resumed, 20, resume=True)
    assert resumed.attachment.companions.options.schedule == Schedule.fractions(5)


def test_a_run_in_bfloat16_goes_through_all_phases(tmp_path: Path) -> None:
    callback = _callback()
    trainer = _train(tmp_path, callback, 6, bf16=True)
    assert torch.tensor(_losses(trainer)).isfinite().all()
    assert callback.attachment.phase == "adversarial"


def test_nothing_is_left_on_the_model_when_training_ends(tmp_path: Path) -> None:
    assert _hooks(_train(tmp_path, _callback(), 5)) == 0


def test_evaluation_sees_the_images_themselves(tmp_path: Path) -> None:
    trainer = _train(tmp_path, _callback(schedule=Schedule(0, 1)), 3, eval_strategy="steps", eval_steps=1)
    images, labels = a_batch()
    with torch.no_grad():
        expected = trainer.model.eval()(pixel_values=images, labels=labels).loss
    seen = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
    assert seen[2] == pytest.approx(expected.item())

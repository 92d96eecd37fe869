"""The task inside timm's training protocol."""

import copy
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed as dist
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask, MultiLabelClassificationTask, TrainingTask, resume_task_checkpoint
from timm.utils import CheckpointSaver
from torch import Tensor, nn
from torch.optim import optimizer as torch_optimizer

from advbg import Schedule
from advbg.integrations.timm import AdversarialBackgroundTask
from tests.models import a_batch, tiny_classifier

_PHASES = ["classifier", "mask", "mask", "adversarial", "adversarial"]
_SCHEDULE = Schedule(classifier=1, mask=2)


def _model(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model("test_resnet.r160_in1k", num_classes=4)


def _images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Blocks on black, normalised as timm's model expects."""
    images, targets = a_batch(seed=seed)
    config = _model().pretrained_cfg
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    return (images - mean) / std, targets


def _task(**options: Any) -> AdversarialBackgroundTask:
    return AdversarialBackgroundTask(_model(), **{"verbose": False, "schedule": _SCHEDULE, **options})


def _optimizer(task: TrainingTask, name: str = "sgd") -> torch.optim.Optimizer:
    return create_optimizer_v2(task.get_trainable_module(), opt=name, lr=0.05, momentum=0.9)


def _train(task: TrainingTask, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> list[float]:
    """The calls of timm's `train_one_epoch`."""
    task.get_trainable_module().train()
    losses = []
    for step in range(first, first + steps):
        result = task(*_images(step))
        result["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        task.update_ema(step=step + 1)
        losses.append(result["loss"].item())
    return losses


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)


def test_it_returns_the_loss_and_the_output_as_timm_expects() -> None:
    task = _task()
    images, targets = _images()
    result = task(images, targets)
    assert set(result) == {"loss", "output"}
    assert result["output"].shape == (8, 4)
    assert torch.equal(result["loss"], nn.functional.cross_entropy(result["output"], targets))


def test_a_model_that_is_trained_in_evaluation_mode_is_warned_of() -> None:
    task = _task()
    optimizer = _optimizer(task)
    _train(task, optimizer, 1)
    task.get_trainable_module().eval()
    task(*_images())["loss"].backward()
    with pytest.warns(UserWarning, match="the model was called in evaluation mode"):
        optimizer.step()


def test_an_optimiser_that_steps_no_more_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbg.attachment._PATIENCE", 3)
    task = _task()
    first, second = _optimizer(task), _optimizer(task)
    _train(task, first, 2)
    with pytest.warns(UserWarning, match="the optimizer that the backgrounds follow has not stepped for 3 batches"):
        _train(task, second, 5)


def test_the_companions_step_with_the_models_optimiser_from_its_first_step() -> None:
    task = _task()
    optimizer = _optimizer(task)
    phases = []
    for step in range(5):
        phases.append(task.companions.phase)
        _train(task, optimizer, 1, first=step)
    assert phases == _PHASES


@pytest.mark.parametrize("name", ["adamw", "lookahead_sgd", "lamb"])
def test_every_kind_of_timms_optimisers_steps_them_once(name: str) -> None:
    task = _task()
    _train(task, _optimizer(task, name), 3)
    assert task.companions.step_count == 3


def test_in_the_classifier_and_the_mask_phase_losses_and_weights_are_a_plain_runs() -> None:
    task, plain = _task(), ClassificationTask(_model(), verbose=False)
    optimizer, plain_optimizer = _optimizer(task), _optimizer(plain)
    assert _train(task, optimizer, 3) == _train(plain, plain_optimizer, 3)
    assert _same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())
    assert _train(task, optimizer, 2, first=3) != _train(plain, plain_optimizer, 2, first=3)


def test_a_schedule_that_stays_in_the_classifier_phase_is_a_plain_run() -> None:
    task, plain = _task(schedule=Schedule(classifier=100)), ClassificationTask(_model(), verbose=False)
    assert _train(task, _optimizer(task), 5) == _train(plain, _optimizer(plain), 5)


def test_the_task_shows_the_plain_models_parameters_and_state() -> None:
    task, plain = _task(), ClassificationTask(_model(), verbose=False)
    _train(task, _optimizer(task), 4)
    assert [name for name, _ in task.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert list(task.state_dict()) == list(plain.state_dict())
    assert {id(p) for p in task.get_clip_parameters()} == {id(p) for p in task.trainable_module.parameters()}


def test_an_evaluated_model_sees_the_images_as_they_are() -> None:
    task = _task(schedule=Schedule(0, 0), mask_generator="nonzero")
    images, targets = _images()
    task.trainable_module.eval()
    result = task(images, targets)
    assert torch.equal(result["output"], _model().eval()(images))
    assert task.companions.image_shape is None


@pytest.mark.parametrize("steps", range(1, 6))
def test_a_run_resumed_by_timm_in_any_phase_goes_on_bit_for_bit(tmp_path: Path, steps: int) -> None:
    task = _task()
    optimizer = _optimizer(task)
    task.setup_ema(decay=0.9)
    _train(task, optimizer, steps)
    saver = CheckpointSaver(
        task.get_trainable_module(), optimizer, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path), task=task
    )
    saver.save_recovery(0)
    unbroken = _train(task, optimizer, 4, first=steps)

    resumed = AdversarialBackgroundTask(_model(seed=1), verbose=False, schedule=_SCHEDULE)
    resumed_optimizer = _optimizer(resumed)
    assert resume_task_checkpoint(resumed, str(tmp_path / "recovery-0-0.pth.tar"), resumed_optimizer) == 1
    assert resumed.companions.step_count == steps
    assert _train(resumed, resumed_optimizer, 4, first=steps) == unbroken
    assert _same(resumed.trainable_module.state_dict(), task.trainable_module.state_dict())


def test_a_checkpoint_is_a_plain_models_and_the_companions_lie_beside_it() -> None:
    task = _task()
    task.setup_ema(decay=0.5)
    _train(task, _optimizer(task), 4)
    state = {**task.get_checkpoint_state(), **task.get_checkpoint_state(ema=True)}
    assert set(state) == {"state_dict", "task_state", "state_dict_ema"}
    assert set(state["task_state"]) == {"companions"}
    for name in ("state_dict", "state_dict_ema"):
        _model(seed=1).load_state_dict(state[name], strict=True)


def test_a_plain_checkpoint_starts_the_companions_afresh_and_says_so() -> None:
    plain, task = ClassificationTask(_model(seed=1), verbose=False), _task()
    with pytest.warns(UserWarning, match="saved without adversarial backgrounds"):
        task.load_checkpoint_state(plain.get_checkpoint_state()["state_dict"])
    assert task.companions.step_count == 0
    assert _same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())


def test_a_plain_task_takes_a_checkpoint_with_companions() -> None:
    task, plain = _task(), ClassificationTask(_model(seed=1), verbose=False)
    _train(task, _optimizer(task), 2)
    plain.load_checkpoint_state(**task.get_checkpoint_state())
    assert _same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())


def test_the_emas_checkpoint_leaves_the_companions_alone() -> None:
    task = _task()
    task.setup_ema()
    optimizer = _optimizer(task)
    _train(task, optimizer, 2)
    saved = copy.deepcopy(task.get_checkpoint_state())
    _train(task, optimizer, 1, first=2)
    task.load_checkpoint_state(saved["state_dict"], saved["task_state"], ema=True)
    assert task.companions.step_count == 3


def test_companions_of_another_kind_are_refused() -> None:
    task = _task(background="noise")
    with pytest.raises(RuntimeError, match="saved with `background` 'adversarial'"):
        task.load_task_state(_task().get_task_state())


def test_an_optimiser_of_another_model_is_none_of_its_business() -> None:
    task, other = _task(), tiny_classifier()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not task.companions.attached
    assert optimizer._optimizer_step_post_hooks == {}


def test_a_task_that_is_gone_leaves_no_hook_behind() -> None:
    gc.collect()
    before = len(torch_optimizer._global_optimizer_pre_hooks)
    task = _task()
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before + 1
    del task
    gc.collect()
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before


def test_patches_instead_of_images_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`input` \(a dict\) must be a tensor of images"):
        _task()({"patches": torch.zeros(1)}, torch.zeros(1))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lifetime'"):
        _task(lifetime=1)


def test_criteria_may_be_given_or_made_by_timm() -> None:
    given = _task(criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    made = _task(criterion_kwargs={"smoothing": 0.1})
    images, targets = _images()
    torch.testing.assert_close(given(images, targets)["loss"], made(images, targets)["loss"])


def test_soft_targets_of_mixup_pass_through() -> None:
    task = _task(schedule=Schedule(0, 1), criterion=nn.CrossEntropyLoss())
    optimizer = _optimizer(task)
    for step in range(2):
        images, targets = _images(step)
        task(images, nn.functional.one_hot(targets, 4).float() * 0.8 + 0.05)["loss"].backward()
        optimizer.step()
    assert task.companions.phase == "adversarial"


def test_timms_multi_label_task_combines_with_it() -> None:
    class Task(AdversarialBackgroundTask, MultiLabelClassificationTask):
        pass

    task = Task(_model(), verbose=False, schedule=Schedule(0, 1))
    optimizer = _optimizer(task)
    for step in range(2):
        images, targets = _images(step)
        task(images, nn.functional.one_hot(targets, 4).float())["loss"].backward()
        optimizer.step()
    assert task.companions.phase == "adversarial"
    assert type(task.create_evaluator()).__name__ == "MultiLabelClassificationEvaluator"


def test_gradient_accumulation_counts_optimiser_steps() -> None:
    task = _task()
    optimizer = _optimizer(task)
    for step in range(8):
        with task.no_sync():
            (task(*_images(step))["loss"] / 2).backward()
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert task.companions.step_count == 4


def test_the_companions_follow_the_task_to_another_device() -> None:
    task = _task()
    assert task.companions.device.type == "cpu"
    assert task.to("meta").companions.device.type == "meta"


def test_the_companions_follow_the_task_in_full_precision() -> None:
    task = _task(mean=0.0, std=1.0)
    task.companions.build(a_batch()[0])
    task.to(dtype=torch.bfloat16)
    assert task.dtype == next(task.trainable_module.parameters()).dtype == torch.bfloat16
    assert {parameter.dtype for parameter in task.companions.parameters()} == {torch.float32}


@pytest.fixture
def process_group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("process_group")
def test_data_parallel_training_is_that_of_the_model_alone() -> None:
    alone, task = _task(), _task()
    losses = _train(alone, _optimizer(alone), 5)
    optimizer = _optimizer(task)
    task.prepare_distributed()
    assert _train(task, optimizer, 5) == pytest.approx(losses, rel=1e-4)
    assert list(task.get_checkpoint_state()["state_dict"]) == list(_model().state_dict())


# TorchDynamo asks every input for its gradient, also composites.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_model_goes_through_every_phase() -> None:
    task, compiled = _task(), AdversarialBackgroundTask(_model(), verbose=False, schedule=_SCHEDULE)
    losses = _train(task, _optimizer(task), 5)
    optimizer = _optimizer(compiled)
    compiled.compile(backend="eager")
    assert _train(compiled, optimizer, 5) == pytest.approx(losses, rel=1e-4)
    assert list(compiled.get_checkpoint_state()["state_dict"]) == list(_model().state_dict())

"""The task inside timm's training protocol."""

import gc
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from timm.optim import create_optimizer_v2
from timm.task import ClassificationTask, MultiLabelClassificationTask
from torch import Tensor, nn
from torch.optim import optimizer as torch_optimizer

from advbg import Schedule
from advbg.integrations.timm import AdversarialBackgroundTask
from advbg.tasks.segmentation import Segmentation
from tests.integrations.timm_runs import PHASES, SCHEDULE, a_model, a_task, an_optimizer, same, some_images, train
from tests.models import a_batch, tiny_classifier
from tests.plugins import plugged


def test_it_returns_the_loss_and_the_output_as_timm_expects() -> None:
    task = a_task()
    images, targets = some_images()
    result = task(images, targets)
    assert set(result) == {"loss", "output"}
    assert result["output"].shape == (8, 4)
    assert torch.equal(result["loss"], nn.functional.cross_entropy(result["output"], targets))


def test_a_model_that_is_trained_in_evaluation_mode_is_warned_of() -> None:
    task = a_task()
    optimizer = an_optimizer(task)
    train(task, optimizer, 1)
    task.get_trainable_module().eval()
    task(*some_images())["loss"].backward()
    with pytest.warns(UserWarning, match="the model was called in evaluation mode"):
        optimizer.step()


def test_the_companions_step_with_the_models_optimiser_from_its_first_step() -> None:
    task = a_task()
    optimizer = an_optimizer(task)
    phases = []
    for step in range(5):
        phases.append(task.companions.phase)
        train(task, optimizer, 1, first=step)
    assert phases == PHASES


@pytest.mark.parametrize("name", ["adamw", "lookahead_sgd", "lamb"])
def test_every_kind_of_timms_optimisers_steps_them_once(name: str) -> None:
    task = a_task()
    train(task, an_optimizer(task, name), 3)
    assert task.companions.step_count == 3


def test_in_the_classifier_and_the_mask_phase_losses_and_weights_are_a_plain_runs() -> None:
    task, plain = a_task(), ClassificationTask(a_model(), verbose=False)
    optimizer, plain_optimizer = an_optimizer(task), an_optimizer(plain)
    assert train(task, optimizer, 3) == train(plain, plain_optimizer, 3)
    assert same(task.trainable_module.state_dict(), plain.trainable_module.state_dict())
    assert train(task, optimizer, 2, first=3) != train(plain, plain_optimizer, 2, first=3)


def test_a_schedule_that_stays_in_the_classifier_phase_is_a_plain_run() -> None:
    task, plain = a_task(schedule=Schedule(classifier=100)), ClassificationTask(a_model(), verbose=False)
    assert train(task, an_optimizer(task), 5) == train(plain, an_optimizer(plain), 5)


def test_the_task_shows_the_plain_models_parameters_and_state() -> None:
    task, plain = a_task(), ClassificationTask(a_model(), verbose=False)
    train(task, an_optimizer(task), 4)
    assert [name for name, _ in task.named_parameters()] == [name for name, _ in plain.named_parameters()]
    assert list(task.state_dict()) == list(plain.state_dict())
    assert {id(p) for p in task.get_clip_parameters()} == {id(p) for p in task.trainable_module.parameters()}


def test_an_evaluated_model_sees_the_images_as_they_are() -> None:
    task = a_task(schedule=Schedule(0, 0), mask_generator="nonzero")
    images, targets = some_images()
    task.trainable_module.eval()
    result = task(images, targets)
    assert torch.equal(result["output"], a_model().eval()(images))
    assert task.companions.image_shape is None


def test_an_optimiser_of_another_model_is_none_of_its_business() -> None:
    task, other = a_task(), tiny_classifier()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    other(torch.rand(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    assert not task.companions.attached
    assert optimizer._optimizer_step_post_hooks == {}


def test_a_task_that_is_gone_leaves_no_hook_behind() -> None:
    gc.collect()
    before = len(torch_optimizer._global_optimizer_pre_hooks)
    task = a_task()
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before + 1
    del task
    gc.collect()
    assert len(torch_optimizer._global_optimizer_pre_hooks) == before


def test_patches_instead_of_images_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`input` \(a dict\) must be a tensor of images"):
        a_task()({"patches": torch.zeros(1)}, torch.zeros(1))


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'lifetime'"):
        a_task(lifetime=1)


def test_criteria_may_be_given_or_made_by_timm() -> None:
    given = a_task(criterion=nn.CrossEntropyLoss(label_smoothing=0.1))
    made = a_task(criterion_kwargs={"smoothing": 0.1})
    images, targets = some_images()
    torch.testing.assert_close(given(images, targets)["loss"], made(images, targets)["loss"])


def test_masks_of_the_data_are_taken_instead_of_learned_ones() -> None:
    task = a_task(schedule=Schedule(1, 2), clean_share=0.0, halo=0.0)
    optimizer = an_optimizer(task)
    shown: list[Tensor] = []
    task.trainable_module.register_forward_pre_hook(lambda module, args: shown.append(args[0].detach().clone()))
    images, targets = some_images()
    mask = torch.zeros(8, 32, 32)
    mask[:, 4:12, 4:12] = 1
    for phase in ("classifier", "adversarial"):
        assert task.companions.phase == phase
        task(images, targets, mask=mask)["loss"].backward()
        optimizer.step()
    foreground = mask[:, None].bool().expand_as(images)
    assert torch.equal(shown[0], images)
    assert torch.equal(shown[1][foreground], images[foreground])
    assert (shown[1] != images)[~foreground].float().mean() > 0.9


def test_the_criterion_sees_targets_that_change_with_the_background() -> None:
    labels = torch.ones(4, 16, 16, dtype=torch.int64)
    labels[:, 4:12, 4:12] = 2
    seen: list[Tensor] = []

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        seen.append(targets)
        return nn.functional.cross_entropy(outputs, targets)

    plugin = Segmentation("street", background=(0, 1))
    with plugged(plugin):
        task = AdversarialBackgroundTask(
            nn.Conv2d(3, 3, 1),
            criterion,
            verbose=False,
            task="street",
            schedule=Schedule(0, 0),
            clean_share=0.0,
            halo=0.0,
        )
        optimizer = create_optimizer_v2(task.trainable_module, opt="sgd", lr=0.1)
        task(torch.rand(4, 3, 16, 16), labels)["loss"].backward()
        optimizer.step()
    assert (seen[0][labels == 2] == 2).all()
    assert (seen[0][labels == 1] == 0).all()


def test_soft_targets_of_mixup_pass_through() -> None:
    task = a_task(schedule=Schedule(0, 1), criterion=nn.CrossEntropyLoss())
    optimizer = an_optimizer(task)
    for step in range(2):
        images, targets = some_images(step)
        task(images, nn.functional.one_hot(targets, 4).float() * 0.8 + 0.05)["loss"].backward()
        optimizer.step()
    assert task.companions.phase == "adversarial"


def test_timms_multi_label_task_combines_with_it() -> None:
    class Task(AdversarialBackgroundTask, MultiLabelClassificationTask):
        pass

    task = Task(a_model(), verbose=False, schedule=Schedule(0, 1))
    optimizer = an_optimizer(task)
    for step in range(2):
        images, targets = some_images(step)
        task(images, nn.functional.one_hot(targets, 4).float())["loss"].backward()
        optimizer.step()
    assert task.companions.phase == "adversarial"
    assert type(task.create_evaluator()).__name__ == "MultiLabelClassificationEvaluator"


def test_gradient_accumulation_counts_optimiser_steps() -> None:
    task = a_task()
    optimizer = an_optimizer(task)
    for step in range(8):
        with task.no_sync():
            (task(*some_images(step))["loss"] / 2).backward()
        if step % 2:
            optimizer.step()
            optimizer.zero_grad()
    assert task.companions.step_count == 4


def test_the_companions_follow_the_task_to_another_device() -> None:
    task = a_task()
    assert task.companions.device.type == "cpu"
    assert task.to("meta").companions.device.type == "meta"


def test_the_companions_follow_the_task_in_full_precision() -> None:
    task = a_task(mean=0.0, std=1.0)
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
    alone, task = a_task(), a_task()
    losses = train(alone, an_optimizer(alone), 5)
    optimizer = an_optimizer(task)
    task.prepare_distributed()
    assert train(task, optimizer, 5) == pytest.approx(losses, rel=1e-4)
    assert list(task.get_checkpoint_state()["state_dict"]) == list(a_model().state_dict())


# TorchDynamo asks every input for its gradient, also composites.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_a_compiled_model_goes_through_every_phase() -> None:
    task, compiled = a_task(), AdversarialBackgroundTask(a_model(), verbose=False, schedule=SCHEDULE)
    losses = train(task, an_optimizer(task), 5)
    optimizer = an_optimizer(compiled)
    compiled.compile(backend="eager")
    assert train(compiled, optimizer, 5) == pytest.approx(losses, rel=1e-4)
    assert list(compiled.get_checkpoint_state()["state_dict"]) == list(a_model().state_dict())

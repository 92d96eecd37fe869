"""What users do in their loops trains the model as it would without the library, on what the model saw."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.data import Mixup
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint

from advbg import AdversarialBackground
from tests.compatibility.replay import SCHEDULE, Batches, assert_trains_as_plainly_on_what_it_saw, some_batches
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train

Attach = Callable[[torch.optim.Optimizer], Any]


def _norm_classifier() -> nn.Module:
    return tiny_classifier(batch_norm=True)


def test_fp16_with_a_grad_scaler() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        attach(optimizer)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for images, targets in batches:
            with torch.autocast("cpu", dtype=torch.float16):
                loss = F.cross_entropy(model(images), targets)
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop)


def test_bf16_autocast_and_channels_last() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        model.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        for images, targets in batches:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), targets)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop, _norm_classifier)


def test_accumulated_clipped_and_scheduled_steps() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        attach(optimizer)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=len(batches) // 2 + 1)
        for index, (images, targets) in enumerate(batches):
            (F.cross_entropy(model(images), targets) / 2).backward()
            if index % 2:
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop, batches=some_batches(10))


def test_gradients_cleared_between_forward_and_backward() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        for images, targets in batches:
            loss = F.cross_entropy(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    wrapper = assert_trains_as_plainly_on_what_it_saw(loop)
    assert wrapper.companions.mask_optimizer.state


def test_an_optimiser_for_each_part_of_the_model() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        parameters = list(model.parameters())
        body, head = torch.optim.SGD(parameters[:2], lr=0.1), torch.optim.Adam(parameters[2:], lr=1e-2)
        attach(body)
        for images, targets in batches:
            F.cross_entropy(model(images), targets).backward()
            for optimizer in (body, head):
                optimizer.step()
                optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop)


def _timm_ema(model: nn.Module) -> tuple[Any, Callable[[nn.Module], None], Callable[[], nn.Module]]:
    ema = ModelEmaV3(model, decay=0.5)
    return ema, ema.update, lambda: ema.module


def _averaged_model(model: nn.Module) -> tuple[Any, Callable[[nn.Module], None], Callable[[], nn.Module]]:
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=False)
    return average, average.update_parameters, lambda: average.module


@pytest.mark.parametrize("make", [_timm_ema, _averaged_model])
def test_a_moving_average_of_the_weights(make: Callable[[nn.Module], Any]) -> None:
    averages: list[dict[str, Tensor]] = []

    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        _, update, averaged = make(model)
        for images, targets in batches:
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            update(model)
        averages.append(averaged().state_dict())

    assert_trains_as_plainly_on_what_it_saw(loop)
    ours, plain = averages
    assert ours.keys() == plain.keys()
    assert all(torch.equal(ours[name], plain[name]) for name in plain)


def test_mixup_and_cutmix_before_the_wrapper() -> None:
    mixup = Mixup(mixup_alpha=0.8, cutmix_alpha=1.0, num_classes=4)
    mixed = [mixup(images, targets) for images, targets in some_batches()]

    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        for images, targets in batches:
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop, batches=mixed)


def test_a_teacher_that_sees_the_students_composites() -> None:
    teacher, seen = tiny_classifier(seed=9).eval(), []
    teacher.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    student = adversarial_wrapper()
    watched: list[Tensor] = []
    student.model.register_forward_pre_hook(lambda _, args: watched.append(args[0].detach()))
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    student.attach(optimizer)
    images, _ = a_batch()
    logits = student(images)
    with torch.no_grad():
        goals = teacher(watched[-1])
    F.kl_div(logits.log_softmax(1), goals.softmax(1), reduction="batchmean").backward()
    optimizer.step()
    assert torch.equal(seen[0], watched[0])
    assert not torch.equal(seen[0], images)


class _Checkpointing(nn.Module):
    def __init__(self, active: bool) -> None:
        super().__init__()
        self.net, self.active = _norm_classifier(), active

    def forward(self, images: Tensor) -> Tensor:
        if not self.active:
            return self.net[3:](self.net[:3](images))
        return self.net[3:](checkpoint(self.net[:3], images, use_reentrant=False))


def test_activation_checkpointing_within_the_model() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        for images, targets in batches:
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()

    assert_trains_as_plainly_on_what_it_saw(loop, lambda: _Checkpointing(True))


def test_activation_checkpointing_around_the_wrapper_is_refused() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, targets = a_batch()
    loss = F.cross_entropy(checkpoint(wrapper, images, use_reentrant=False), targets)
    with pytest.raises(RuntimeError, match=r"passed in again during a backward pass.*`params=`"):
        loss.backward()


def test_activation_checkpointing_around_replayed_draws_has_the_gradients_of_no_checkpointing() -> None:
    images, targets = a_batch()
    gradients = []
    for recompute in (True, False):
        wrapper = adversarial_wrapper()
        params = wrapper.generate_parameters(images)
        wrapper.companions.attached = True
        logits = (
            checkpoint(wrapper, images, params=params, use_reentrant=False)
            if recompute
            else wrapper(images, params=params)
        )
        F.cross_entropy(logits, targets).backward()
        gradients.append([parameter.grad for parameter in wrapper.parameters()])
    assert all(torch.equal(ours, plain) for ours, plain in zip(*gradients, strict=True))


def test_evaluation_in_inference_mode_between_steps() -> None:
    def loop(model: nn.Module, batches: Batches, attach: Attach) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attach(optimizer)
        for images, targets in batches:
            F.cross_entropy(model(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
            model.eval()
            with torch.inference_mode():
                model(images)
            model.train()

    assert_trains_as_plainly_on_what_it_saw(loop, _norm_classifier)


def test_companions_first_built_in_inference_mode_train_afterwards() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=SCHEDULE)
    images, _ = a_batch()
    with torch.inference_mode():
        wrapper.generate_parameters(images)
        wrapper.companions.soft_mask(images)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 3)
    assert wrapper.phase == "adversarial"


def test_gradients_of_a_step_that_never_came_are_forgotten_and_those_being_accumulated_stay() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, targets = a_batch()
    wrapper.companions.build(images)
    learners = list(wrapper.companions.source.parameters())
    F.cross_entropy(wrapper(images), targets).backward()
    wrapper(images)
    assert any(parameter.grad is not None for parameter in learners)
    optimizer.zero_grad()
    wrapper(images)
    assert all(parameter.grad is None for parameter in learners)

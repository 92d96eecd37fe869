"""Companions stay in full precision, whatever the model and the images are in."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.masks import PaperObjective
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_casting_the_model_leaves_the_companions_bit_for_bit(dtype: torch.dtype) -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 1))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    before = [parameter.detach().clone() for parameter in wrapper.companions.parameters()]
    wrapper.to(dtype)
    assert wrapper.model[0].weight.dtype == dtype
    assert all(torch.equal(a, b) for a, b in zip(before, wrapper.companions.parameters(), strict=True))
    wrapper(a_batch()[0].to(dtype)).sum().backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_default_dtype_changes_what_the_model_does_and_nothing_of_the_companions(dtype: torch.dtype) -> None:
    """Lightning's `bf16-true` sets it for the while of a step."""

    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.seen = tiny_classifier(), []

        def forward(self, images: Tensor) -> Tensor:
            self.seen.append(torch.zeros(1).dtype)
            return self.model(images)

    batches = [a_batch(seed=step) for step in range(5)]
    models = Asking(), Asking()

    def run(model: Asking) -> list[Tensor]:
        composites = []
        options = {"placement": 0.5, "lighting": 0.5, "copies": 0.3, "clutter": 0.3, "distractors": 1.0}
        wrapper = AdversarialBackground(model, schedule=Schedule(1, 2), **options)
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        model.model.register_forward_pre_hook(lambda _, inputs: composites.append(inputs[0]))
        for images, targets in batches:
            F.cross_entropy(wrapper(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        return composites

    expected = run(models[0])
    torch.set_default_dtype(dtype)
    try:
        composites = run(models[1])
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(composites, expected, strict=True))
    assert set(models[1].seen) == {dtype}


def test_parts_are_made_where_the_model_lies_whatever_the_default_device() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images = a_batch()[0]
    torch.set_default_device("meta")
    try:
        wrapper.companions.build(images)
    finally:
        torch.set_default_device(None)
    assert {parameter.device.type for parameter in wrapper.companions.parameters()} == {"cpu"}
    wrapper(images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_masks_are_learned_from_half_precision_images_under_autocast(dtype: torch.dtype) -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 9))
    wrapper.companions.attached = True
    images, targets = a_batch()
    with torch.autocast("cpu", dtype=dtype):
        loss = F.cross_entropy(wrapper(images.to(dtype)).float(), targets)
    loss.backward()
    gradients = [parameter.grad for parameter in wrapper.companions.mask_generator.parameters()]
    assert all(gradient.dtype == torch.float32 and torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


@pytest.mark.parametrize(("dtype", "seen"), [(torch.bfloat16, torch.bfloat16), (torch.float16, torch.float32)])
def test_for_its_masks_the_model_is_asked_in_bfloat16_where_it_trains_so(dtype: torch.dtype, seen: torch.dtype) -> None:
    wrapper, outputs, cached = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 9)), [], []
    wrapper.companions.attached = True

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if not module.training:
            outputs.append(output.dtype)
            cached.append(torch.is_autocast_cache_enabled() and seen != torch.float32)

    wrapper.model.register_forward_hook(note)
    with torch.autocast("cpu", dtype=dtype):
        wrapper(a_batch()[0])
    assert outputs == [seen] * 4
    # Older releases of torch would hand weights that were cast under `no_grad` to the user's own call.
    assert not any(cached)


@pytest.mark.parametrize("task", ["regression", "reinforcement"])
def test_numbers_that_may_be_small_beside_their_offset_are_asked_for_in_full_precision(task: str) -> None:
    wrapper, outputs = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 9), task=task), []
    wrapper.companions.attached = True

    def note(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        if not module.training:
            outputs.append(output.dtype)

    wrapper.model.register_forward_hook(note)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wrapper(a_batch()[0])
    assert outputs
    assert set(outputs) == {torch.float32}


def test_an_objective_is_shown_outputs_in_full_precision() -> None:
    seen = []

    def criterion(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(outputs.dtype)
        return F.huber_loss(outputs, F.one_hot(targets, 4).float())

    objective = PaperObjective(criterion=criterion)
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 9), mask_objective=objective)
    wrapper.companions.attached = True
    images, targets = a_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        wrapper(images, targets=targets)
    assert seen == [torch.float32]


def test_masks_that_are_learned_under_autocast_leave_the_model_its_own_gradients() -> None:
    images, targets = a_batch()
    model = tiny_classifier()
    wrapper = AdversarialBackground(copy.deepcopy(model), schedule=Schedule(0, 9))
    wrapper.companions.attached = True
    for trained in (model, wrapper):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(trained(images), targets)
        loss.backward()
    pairs = list(zip(model.parameters(), wrapper.model.parameters(), strict=True))
    assert pairs
    assert all(torch.equal(plain.grad, beside.grad) for plain, beside in pairs)


@pytest.mark.parametrize("background", ["adversarial", "paper"])
def test_backgrounds_and_masks_drawn_under_autocast_are_those_drawn_without(background: str) -> None:
    images, _ = a_batch()

    def draw(enabled: bool) -> tuple[torch.Tensor, torch.Tensor]:
        wrapper = adversarial_wrapper(mask_generator="unet", background=background)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            return wrapper.generate_parameters(images).backgrounds, wrapper.companions.soft_mask(images)

    for half, full in zip(draw(enabled=True), draw(enabled=False), strict=True):
        assert half.dtype == torch.float32
        assert torch.equal(half, full)


@contextmanager
def _by_default(dtype: torch.dtype) -> Iterator[None]:
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def test_draws_are_in_full_precision_whatever_the_default_dtype() -> None:
    wrapper = adversarial_wrapper(background="noise")
    with _by_default(torch.float64):
        drawn = wrapper.generate_parameters(a_batch()[0].float())
    assert drawn.backgrounds.dtype == torch.float32


def test_companions_are_built_in_full_precision_whatever_the_default_dtype() -> None:
    companions = AdversarialBackground(tiny_classifier()).companions
    with _by_default(torch.bfloat16):
        companions.build(a_batch()[0].float())
    assert {parameter.dtype for parameter in companions.parameters()} == {torch.float32}


def test_a_call_that_fails_leaves_the_default_dtype_as_it_was() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    with _by_default(torch.float64):
        with pytest.raises(ValueError, match="`images` must be a float tensor of shape"):
            wrapper(torch.rand(3, 8, 8))
        assert torch.get_default_dtype() == torch.float64

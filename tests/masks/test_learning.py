"""Mask generators of one's own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.masks.learning import make_masks
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, tiny_classifier, train


class _Normalised(nn.Module):
    """A mask generator with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.normalise(pixels)))


def test_a_mask_generators_own_statistics_move_only_while_it_learns() -> None:
    generator = _Normalised()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 2), mask_generator=generator)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    batches = []
    for seed in range(4):
        batches.append((wrapper.phase, int(generator.normalise.num_batches_tracked)))
        wrapper(a_batch(seed=seed)[0]).sum().backward()
        optimizer.step()
    assert batches == [("mask", 0), ("mask", 1), ("adversarial", 2), ("adversarial", 2)]
    assert generator.training


def test_a_mask_generator_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returned shape \(8, 3, 32, 32\).*expected \(8, 1, 32, 32\)"):
        make_masks(nn.Identity(), a_batch()[0], PixelSpace())


def _attached(schedule: Schedule) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=schedule)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    return wrapper, optimizer


def test_a_schedule_without_a_mask_phase_is_refused_at_the_first_batch_that_has_no_masks() -> None:
    wrapper, optimizer = _attached(Schedule(10, 0))
    images, _ = a_batch()
    with pytest.raises(ValueError, match="has learned nothing: pass `mask=` with every batch, or with none"):
        wrapper(images)
    assert wrapper.companions.step_count == 0
    wrapper, optimizer = _attached(Schedule(10, 0))
    wrapper(images, mask=images.amax(dim=1) > 0)
    optimizer.step()
    assert wrapper.companions.step_count == 1


def test_masks_that_were_learned_before_need_no_mask_phase() -> None:
    first, optimizer = _attached(Schedule(0, 1))
    train(first, optimizer, 1)
    second, optimizer = _attached(Schedule(10, 0))
    with pytest.warns(UserWarning, match="leads back to the classifier phase"):
        second.companions.load_state_dict(first.companions.state_dict())
    train(second, optimizer, 1)
    assert second.phase == "classifier"


def _train_with(mask_generator: Callable[[Tensor], Tensor], **options: Any) -> Tensor:
    """The images that a model sees in the first step."""
    seen = []
    wrapper = AdversarialBackground(
        nn.Identity(), mask_generator=mask_generator, schedule=Schedule(0, 0), clean_share=0.0, halo=0.0, **options
    )
    wrapper.companions.attached = True
    wrapper.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    wrapper(a_batch()[0])
    return seen[0]


@pytest.mark.parametrize("value", [-6.0, 1.5, 255.0, float("nan")])
def test_a_mask_generator_of_ones_own_that_makes_no_masks_is_refused_with_the_first_batch(value: float) -> None:
    with pytest.raises(ValueError, match=r"generator function made values over .*, expected masks in \[0, 1\]"):
        _train_with(lambda pixels: torch.full_like(pixels[:, :1], value))


def test_a_mask_generator_of_ones_own_may_make_bool_but_no_whole_numbers() -> None:
    images, _ = a_batch()
    bright = _train_with(lambda pixels: (pixels > 0).any(1, keepdim=True), background="black")
    assert torch.equal(bright, images)
    with pytest.raises(ValueError, match=r"returned torch\.int64, expected bool or a float in \[0, 1\]"):
        _train_with(lambda pixels: (pixels[:, :1] > 0).long())


def test_a_mask_generator_of_ones_own_that_returns_no_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="returned a dict, expected one tensor of masks"):
        make_masks(lambda pixels: {"out": pixels}, a_batch()[0], PixelSpace())  # pyright: ignore[reportArgumentType]


def test_an_objective_of_ones_own_that_rates_each_image_apart_is_refused() -> None:
    def each(model: Any, images: Tensor, mask: Tensor, targets: Any) -> Tensor:
        return mask.mean(dim=(1, 2, 3))

    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 2), mask_objective=each)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    with pytest.raises(
        ValueError, match=r"`mask_objective` \(function\) returned a loss of shape \(8,\), expected one"
    ):
        wrapper(a_batch()[0])


def test_an_image_in_whose_soft_mask_nothing_can_be_seen_stays_as_it_is() -> None:
    with pytest.warns(UserWarning, match="the masks of all 8 images are empty"):
        seen = _train_with(lambda pixels: torch.full_like(pixels[:, :1], 1e-6), binarization="none", background="noise")
    assert torch.equal(seen, a_batch()[0])


class _Convolution(nn.Module):
    """A mask generator that remembers in which precision it worked, and has a layer that it does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.unused = nn.Conv2d(3, 1, 1), nn.Linear(2, 2)
        self.precisions: list[torch.dtype] = []

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.head(pixels)
        self.precisions.append(logits.dtype)
        return torch.sigmoid(logits)


def test_a_mask_generator_of_ones_own_learns_in_full_precision_under_autocast() -> None:
    generator = _Convolution()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 2), mask_generator=generator)
    wrapper.companions.attached = True
    with torch.autocast("cpu", torch.bfloat16):
        wrapper(a_batch()[0])
    assert set(generator.precisions) == {torch.float32}


def test_a_mask_generator_may_have_parameters_that_it_does_not_use() -> None:
    generator = _Convolution()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 2), mask_generator=generator)
    wrapper.companions.attached = True
    wrapper(a_batch()[0])
    assert generator.head.weight.grad is not None
    assert generator.unused.weight.grad is None


def test_a_mask_generator_of_ones_own_is_taken_for_one_that_has_learned() -> None:
    assert _train_with(_Convolution(), background="noise").shape == (8, 3, 32, 32)


def test_a_mask_generator_of_ones_own_learns_at_its_own_rate_where_it_has_one() -> None:
    slow = _Convolution()
    slow.learning_rate = 1e-4
    for generator, rate in ((slow, 1e-4), (_Convolution(), 1e-3)):
        wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 1), mask_generator=generator)
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        before = generator.head.weight.detach().clone()
        train(wrapper, optimizer, 1)
        # The first step of Adam is the learning rate, whatever the gradient.
        change = (generator.head.weight - before).abs().amax().item()
        assert change == pytest.approx(rate, rel=0.05)

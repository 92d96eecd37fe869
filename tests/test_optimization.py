"""The companions' own optimisers."""

import pytest
import torch
import torch.nn.functional as F
from timm.models.tiny_vit import Attention as TinyViTAttention
from torch import nn

from advbg.optimization import begin_batch, descend, evaluating, make_optimizer, place, trainable_parameters
from tests.models import a_batch, adversarial_wrapper, tiny_classifier


def test_a_plain_function_has_nothing_to_optimise() -> None:
    assert make_optimizer(torch.sigmoid) is None
    assert trainable_parameters(torch.sigmoid) == []
    descend(None)


def test_a_part_learns_at_its_own_rate() -> None:
    part = nn.Linear(2, 2)
    assert make_optimizer(part).param_groups[0]["lr"] == 1e-3
    part.learning_rate = 0.25
    assert make_optimizer(part).param_groups[0]["lr"] == 0.25


def test_only_parameters_that_require_a_gradient_are_optimised() -> None:
    part = nn.Linear(2, 2)
    part.bias.requires_grad_(False)
    assert trainable_parameters(part) == [part.weight]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_moves_nothing(bad: float) -> None:
    part = nn.Linear(2, 2)
    optimizer = make_optimizer(part)
    before = part.weight.detach().clone()
    part.weight.grad = torch.full((2, 2), bad)
    part.bias.grad = torch.ones(2)
    descend(optimizer)
    assert torch.equal(part.weight, before)
    assert part.weight.grad is None
    part.weight.grad = torch.ones(2, 2)
    descend(optimizer)
    assert not torch.equal(part.weight, before)
    assert torch.isfinite(part.weight).all()


@pytest.mark.parametrize("cleared", [True, False])
def test_gradients_of_a_step_that_never_came_are_forgotten_with_the_models(cleared: bool) -> None:
    model, part = nn.Linear(2, 2), nn.Linear(2, 2)
    for module in (model, part):
        module.weight.grad = torch.ones(2, 2)
    if cleared:
        model.zero_grad()
    begin_batch(model, part)
    assert (part.weight.grad is None) == cleared


def _backgrounds_gradients_after_another_batch(model: nn.Module) -> list[torch.Tensor]:
    wrapper = adversarial_wrapper(model)
    wrapper.companions.attached = True
    images, targets = a_batch()
    F.cross_entropy(wrapper(images), targets).backward()
    before = [p.grad.clone() for p in wrapper.companions.source.parameters() if p.grad is not None]
    wrapper(images)
    after = [p.grad for p in wrapper.companions.source.parameters() if p.grad is not None]
    assert before
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(before, after, strict=False))
    return after


def test_an_unused_parameter_of_the_model_loses_no_accumulated_gradient() -> None:
    model = tiny_classifier()
    model.unused = nn.Parameter(torch.zeros(1))
    assert _backgrounds_gradients_after_another_batch(model)


def test_a_frozen_model_loses_no_accumulated_gradient() -> None:
    assert _backgrounds_gradients_after_another_batch(tiny_classifier().requires_grad_(False))


def test_a_step_is_clipped_as_torch_clips_it() -> None:
    part, reference = nn.Linear(3, 2), nn.Linear(3, 2)
    reference.load_state_dict(part.state_dict())
    optimizer, expected = make_optimizer(part), torch.optim.Adam(reference.parameters(), lr=1e-3, fused=True)
    for scale in (0.01, 3.0):
        for module in (part, reference):
            module.weight.grad, module.bias.grad = torch.full((2, 3), scale), torch.full((2,), -scale)
        descend(optimizer)
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        expected.step()
    assert torch.equal(part.weight, reference.weight)
    assert torch.equal(part.bias, reference.bias)


def test_a_step_without_gradients_is_none() -> None:
    part = nn.Linear(2, 2)
    optimizer = make_optimizer(part)
    descend(optimizer)
    assert not optimizer.state


def test_the_first_step_is_that_of_torchs_adam_on_the_clipped_gradient() -> None:
    part, reference = nn.Linear(3, 2), nn.Linear(3, 2)
    reference.load_state_dict(part.state_dict())
    gradient = 100 * torch.randn(2, 3)
    part.weight.grad, reference.weight.grad = gradient.clone(), gradient / gradient.norm()
    descend(make_optimizer(part))
    torch.optim.Adam(reference.parameters(), lr=1e-3).step()
    torch.testing.assert_close(part.weight, reference.weight)


def test_modules_are_held_in_evaluation_mode_only_for_the_while() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm2d(2)))
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False, False]


def test_large_gradients_are_clipped_to_a_length_of_one_so_that_small_ones_count_beside_them() -> None:
    ours, theirs = (nn.Linear(3, 1, bias=False) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizer, plain = make_optimizer(ours), torch.optim.Adam(theirs.parameters())
    for scale in (100.0, 0.5):
        ours.weight.grad = torch.full((1, 3), scale)
        theirs.weight.grad = torch.full((1, 3), min(scale, 3**-0.5))
        descend(optimizer)
        plain.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=0, atol=1e-5)


def test_companions_lie_channels_last() -> None:
    placed = place(nn.Conv2d(3, 4, 3), torch.device("cpu"))
    assert placed.weight.is_contiguous(memory_format=torch.channels_last)


def test_a_model_that_is_held_in_evaluation_answers_by_the_weights_that_it_has_now() -> None:
    attention = TinyViTAttention(dim=8, key_dim=4, num_heads=2, resolution=(2, 2))
    inputs = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), evaluating(attention):
        attention(inputs)
        attention.attention_biases += torch.arange(4.0)
    with torch.no_grad(), evaluating(attention):
        held = attention(inputs)
        attention.attention_bias_cache.clear()
        assert torch.equal(held, attention(inputs))

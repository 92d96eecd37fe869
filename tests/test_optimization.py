"""The companions' own optimisers."""

import pytest
import torch
from torch import nn

from advbg.optimization import begin_batch, descend, evaluating, make_optimizer, trainable_parameters


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

"""What passes through the call of an attached model, in training and in evaluation."""

import warnings

import torch
from torch import Tensor, nn

import advbg
from advbg import Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def test_draws_that_are_given_are_replayed_in_evaluation_as_in_training() -> None:
    model = nn.Sequential(nn.Identity())
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    images, _ = a_batch()
    params = attachment.companions.draw(images).detach()
    with attachment.given(params=params):
        trained, tested = model.train()(images), model.eval()(images)
    assert torch.equal(tested, trained)
    assert not torch.equal(tested, images)
    assert torch.equal(model(images), images)


def test_an_evaluation_without_gradients_after_a_step_is_no_training_in_evaluation_mode() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    advbg.attach(model, optimizer)
    train(model, optimizer, 1)
    with torch.no_grad():
        model.eval()(a_batch()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.step()


def test_named_arguments_beside_the_images_reach_the_model_in_the_mask_phase() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.scales = tiny_classifier(), []

        def forward(self, pixel_values: Tensor, scale: float) -> Tensor:
            self.scales.append(scale)
            return scale * self.net(pixel_values)

    model = Scaled()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 1))
    model(pixel_values=a_batch()[0], scale=2.0)
    assert attachment.companions.mask_loss > 0
    # Its objective asks more than once.
    assert len(model.scales) > 1
    assert set(model.scales) == {2.0}


def test_targets_that_are_given_to_a_wrapper_are_its_targets_in_evaluation_too() -> None:
    wrapper = adversarial_wrapper()
    attachment = wrapper.attach(torch.optim.SGD(wrapper.parameters(), lr=0.1))
    labels, others = torch.arange(8), torch.zeros(8)
    wrapper.eval()
    # Called twice, since the context itself sets them as well.
    with attachment.given(targets=labels):
        wrapper(a_batch()[0], targets=others)
        assert wrapper.targets is others
        wrapper(a_batch()[0])
        assert wrapper.targets is labels


def test_an_optimizer_within_two_others_is_followed() -> None:
    wrapper = adversarial_wrapper()

    class Around(torch.optim.Optimizer):
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            super().__init__(optimizer.param_groups, {})
            self.optimizer = optimizer

    inner = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(Around(Around(inner)))
    train(wrapper, inner, 1)
    assert wrapper.companions.step_count == 1


def test_companions_of_a_model_of_buffers_alone_lie_where_these_do() -> None:
    model = nn.Module()
    model.register_buffer("mean", torch.zeros(1, device="meta"))
    assert adversarial_wrapper(model).companions.device == torch.device("meta")

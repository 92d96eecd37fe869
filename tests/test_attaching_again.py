"""Which optimiser companions follow: another, one that is gone, one within another, one that is told to skip."""

import copy
import gc
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import advbg
from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def test_a_new_optimizer_takes_the_place_of_the_first() -> None:
    wrapper = adversarial_wrapper()
    first, second = (torch.optim.SGD(wrapper.parameters(), lr=0.1) for _ in range(2))
    stale = wrapper.attach(first)
    wrapper.attach(second)
    stale.remove()
    assert wrapper.companions.attached
    train(wrapper, first, 1)
    assert wrapper.companions.step_count == 0
    train(wrapper, second, 2)
    assert wrapper.companions.step_count == 2
    wrapper.attach(second)
    train(wrapper, second, 1)
    assert wrapper.companions.step_count == 3


def _enter(entrance: str, model: nn.Module, optimizer: torch.optim.Optimizer) -> nn.Module:
    """What is called in a training that enters by the wrapper or by `attach`."""
    if entrance == "wrapper":
        wrapper = adversarial_wrapper(model)
        wrapper.attach(optimizer)
        return wrapper
    advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    return model


@pytest.mark.parametrize("entrance", ["wrapper", "attach"])
def test_a_training_whose_optimizer_is_gone_warns_until_it_is_attached_to_another(entrance: str) -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    called: Any = _enter(entrance, model, optimizer)
    called(a_batch()[0])
    del optimizer
    gc.collect()
    with pytest.warns(UserWarning, match=r"follow no optimizer \(any more\)"):
        called(a_batch()[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if entrance == "wrapper":
        called.attach(optimizer)
    else:
        advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    called(a_batch()[0])


def test_attaching_to_a_model_again_composites_its_images_once() -> None:
    model, seen = nn.Sequential(nn.Identity()), []
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    options = {"schedule": Schedule(0, 0), "mask_generator": lambda pixels: pixels[:, :1] > 0.2}
    advbg.attach(model, optimizer, clean_share=0.0, background="black", **options)
    attachment = advbg.attach(model, optimizer, clean_share=1.0, **options)
    images = 0.1 + 0.9 * a_batch()[0]
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(images)
    assert torch.equal(seen[0], images)
    optimizer.step()
    assert attachment.companions.step_count == 1


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("before", ["wrapped", "attached"])
def test_a_model_that_composites_already_is_refused(before: str, within: bool) -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = None
    if before == "wrapped":
        model = AdversarialBackground(model)
    else:
        attachment = advbg.attach(model, optimizer)
    outer = nn.Sequential(model, nn.Identity()) if within else model
    place = r"`model\.0`" if within else "`model`"
    with pytest.raises(ValueError, match=rf"{place} \(a \w+\) trains against backgrounds already"):
        AdversarialBackground(outer)
    if within or before == "wrapped":
        with pytest.raises(ValueError, match=place):
            advbg.attach(outer, optimizer)
    if attachment is not None:
        attachment.remove()
        AdversarialBackground(outer)
        AdversarialBackground(copy.deepcopy(outer))


def test_an_optimizer_that_steps_another_inside_of_it_is_followed() -> None:
    wrapper = adversarial_wrapper()

    class SharpnessAware(torch.optim.Optimizer):
        def __init__(self, base_optimizer: torch.optim.Optimizer) -> None:
            super().__init__(base_optimizer.param_groups, {})
            self.base_optimizer = base_optimizer

        def second_step(self) -> None:
            self.base_optimizer.step()

    optimizer = SharpnessAware(torch.optim.SGD(wrapper.parameters(), lr=0.1))
    wrapper.attach(optimizer)
    wrapper(a_batch()[0]).sum().backward()
    optimizer.second_step()
    assert wrapper.companions.step_count == 1


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_grad_scaler_skips_is_none_of_the_companions(fused: bool) -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=0.1, fused=fused)
    wrapper.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu")
    for factor, steps in ((float("inf"), 0), (1.0, 1), (float("inf"), 1)):
        scaler.scale(wrapper(a_batch()[0]).sum() * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert wrapper.companions.step_count == steps


def test_what_was_given_around_holds_again_after_what_was_given_within() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer)
    whole, nothing = torch.ones(8, 32, 32), torch.zeros(8, 32, 32)
    with attachment.given(mask=whole):
        with attachment.given(mask=nothing):
            assert attachment.companions.given["mask"] is nothing
        assert attachment.companions.given["mask"] is whole
    assert attachment.companions.given == {}


@pytest.mark.parametrize("entrance", ["wrapper", "attach"])
def test_an_optimizer_that_never_steps_while_another_does_is_warned_of_once(entrance: str) -> None:
    model = tiny_classifier()
    followed, stepping = (torch.optim.SGD(model.parameters(), lr=0.01) for _ in range(2))
    called = _enter(entrance, model, followed)
    train(called, followed, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(called, stepping, 100)
    with pytest.warns(UserWarning, match="has not stepped for 100 batches"):
        train(called, stepping, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(called, stepping, 50)
        train(called, followed, 1)
        train(called, stepping, 99)


def test_batches_without_gradients_need_no_optimizer_that_steps() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.01)
    wrapper.attach(optimizer)
    with torch.no_grad():
        wrapper(a_batch()[0])
    assert wrapper.companions.batches == 0


def test_a_wrapper_is_refused_while_its_model_is_attached_as_well() -> None:
    model, images = tiny_classifier(), a_batch()[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 0), mask_generator="nonzero")
    wrapper.attach(optimizer)
    wrapper(images)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    with pytest.raises(ValueError, match=r"has been attached as well, so its images would be composited twice"):
        wrapper(images)
    model(images)
    wrapper.eval()(images)
    attachment.remove()
    wrapper.train()(images)

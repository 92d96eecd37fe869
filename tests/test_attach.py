"""Training a model without wrapping it, and what the attachment does to others: nothing."""

import copy
import warnings
from typing import Any

import pytest
import torch
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

import advbg
from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def _hooks(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    return len(model._forward_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def test_attaching_trains_as_wrapping_does_bit_for_bit() -> None:
    schedule = Schedule(classifier=1, mask=2)
    attached, wrapped = tiny_classifier(), tiny_classifier()
    optimizer = torch.optim.SGD(attached.parameters(), lr=0.1)
    attachment = advbg.attach(attached, optimizer, schedule=schedule, seed=5)
    phases, losses = [], []
    for step in range(6):
        phases.append(attachment.phase)
        losses += train(attached, optimizer, 1, first=step)

    wrapper = AdversarialBackground(wrapped, schedule=schedule, seed=5)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    assert train(wrapper, optimizer, 6) == losses
    assert phases == ["classifier", "mask", "mask", "adversarial", "adversarial", "adversarial"]
    assert all(torch.equal(a, b) for a, b in zip(attached.parameters(), wrapped.parameters(), strict=True))


def test_attaching_registers_nothing_on_the_model_and_removing_leaves_no_trace() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    children, keys = len(model), list(model.state_dict())
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    images, _ = a_batch()
    changed = model(images)
    assert (len(model), list(model.state_dict())) == (children, keys)
    assert _hooks(model, optimizer) == 2
    attachment.remove()
    assert _hooks(model, optimizer) == 0
    assert torch.equal(model(images), tiny_classifier()(images))
    assert not torch.equal(changed, model(images))


def test_in_evaluation_an_attached_model_is_itself() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    images, _ = a_batch()
    assert torch.equal(model.eval()(images), tiny_classifier().eval()(images))


def test_a_copy_of_an_attached_model_is_a_plain_model() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    twin = copy.deepcopy(model)
    images, _ = a_batch()
    assert torch.equal(twin(images), tiny_classifier()(images))
    assert attachment.companions.image_shape is None


def test_images_may_come_by_name() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_classifier()

        def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Tensor:
            return self.net(pixel_values)

    model = Named()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 1))
    images, targets = a_batch()
    model(pixel_values=images, labels=targets)
    optimizer.step()
    outputs = model(pixel_values=images, labels=targets)
    assert attachment.phase == "adversarial"
    assert not torch.equal(outputs, model.net(images))
    assert not torch.equal(model(labels=targets, pixel_values=images), model.net(images))
    with pytest.raises(TypeError, match="without images"):
        model()


def test_the_images_of_a_model_that_takes_anything_are_those_that_it_names() -> None:
    class Anything(nn.Module):
        main_input_name = "pixel_values"

        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_classifier()

        def forward(self, *args: Any, **kwargs: Any) -> Tensor:
            return self.net(kwargs["pixel_values"])

    model = Anything()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero", clean_share=0.0)
    images, targets = a_batch()
    assert not torch.equal(model(labels=targets, pixel_values=images), model.net(images))
    assert attachment.companions.batches == 1


@pytest.mark.parametrize("trained_before", [0, 1])
def test_a_model_that_is_trained_in_evaluation_mode_is_warned_of(trained_before: int) -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    advbg.attach(model, optimizer)
    train(model, optimizer, trained_before)
    model.eval()
    with torch.no_grad():
        model(a_batch()[0])
    model(a_batch()[0]).sum().backward()
    with pytest.warns(UserWarning, match=r"the model was called in evaluation mode, .* call its `train\(\)`"):
        optimizer.step()


def test_a_look_at_the_model_in_evaluation_between_steps_is_no_training_in_it() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer)
    model.eval()(a_batch()[0])
    model.train()
    train(model, optimizer, 1)
    assert attachment.companions.step_count == 1


def test_masks_can_be_given_to_an_attached_model() -> None:
    model = nn.Sequential(nn.Identity())
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 5), clean_share=0.0, halo=0.0)
    images, _ = a_batch()
    mask = torch.zeros(8, 32, 32, dtype=torch.bool)
    mask[:, :16] = True
    with attachment.given(mask=mask):
        seen = model(images)
    assert attachment.phase == "adversarial"
    assert torch.equal(seen[:, :, :16], images[:, :, :16])
    assert not torch.equal(seen[:, :, 16:], images[:, :, 16:])
    assert attachment.companions.given == {}


def test_composites_without_a_given_or_a_learned_mask_are_refused() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 0))
    wrapper.companions.attached = True
    images, _ = a_batch()
    wrapper(images, mask=images.amax(dim=1) > 0)
    with pytest.raises(ValueError, match=r"the mask generator 'unet' has learned nothing: pass `mask=`"):
        wrapper(images)


def test_masks_can_be_given_to_a_wrapper_whose_trainer_calls_it() -> None:
    wrapper = AdversarialBackground(nn.Identity(), schedule=Schedule(0, 5), clean_share=0.0, halo=0.0)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    attachment = wrapper.attach(optimizer)
    images, _ = a_batch()
    mask = images.amax(dim=1, keepdim=True) > 0
    with attachment.given(mask=mask):
        seen = wrapper(images)
    assert torch.equal(seen * mask, images)
    assert not torch.equal(seen, images)
    params = wrapper.generate_parameters(images)
    with attachment.given(params=params, mask=torch.zeros(8, 32, 32) + 0.5):
        seen = wrapper.eval()(images)
    torch.testing.assert_close(seen, 0.5 * images + 0.5 * params.backgrounds)


def test_training_without_attaching_warns() -> None:
    wrapper = adversarial_wrapper()
    with pytest.warns(UserWarning, match="attach"):
        wrapper(a_batch()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with torch.no_grad():
            wrapper(a_batch()[0])


def test_given_masks_skip_the_mask_phase_and_are_used_as_they_are() -> None:
    seen: list[Tensor] = []
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 50), clean_share=0.0, halo=0.0)
    wrapper.companions.attached = True
    wrapper.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images, _ = a_batch()
    mask = torch.rand(8, 1, 32, 32)
    assert wrapper.phase == "mask"
    params = None
    wrapper(images, mask=mask)
    assert wrapper.phase == "adversarial"
    params = wrapper.generate_parameters(images)
    wrapper(images, mask=mask, params=params)
    exact = images.double() * mask.double() + params.backgrounds.double() * (1 - mask.double())
    torch.testing.assert_close(seen[-1], exact.float())


def test_given_masks_of_large_images_keep_their_edges_where_they_have_no_halo() -> None:
    wrapper = adversarial_wrapper(clean_share=0.0)
    images, _ = a_batch(size=(130, 100))
    mask = (torch.rand(8, 1, 130, 100) > 0.5).float()
    params = wrapper.generate_parameters(images)
    foreground = wrapper.companions.foreground(images, mask=mask, params=params)
    assert 0 < (params.halo == 0).sum() < 8
    for index, halo in enumerate(params.halo):
        if halo == 0:
            assert torch.equal(foreground[index], mask[index])
        else:
            assert (foreground[index] >= mask[index]).all()
            assert foreground[index].sum() > mask[index].sum()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.ones(8, 16, 16), r"shape \(8, 1, 16, 16\).*need \(8, 1, 32, 32\)"),
        (torch.ones(8, 32, 32, dtype=torch.int64), "dtype torch.int64"),
        (torch.full((8, 32, 32), 1.5), r"ranges over \[1.5, 1.5\]"),
        (torch.full((8, 32, 32), float("nan")), "nan"),
    ],
)
def test_a_mask_of_another_shape_dtype_or_range_is_refused(mask: Tensor, message: str) -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    with pytest.raises(ValueError, match=message):
        wrapper(a_batch()[0], mask=mask)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 32, 32), r"\(batch, channels, height, width\), got torch.float32 of shape \(3, 32, 32\)"),
        (torch.ones(2, 3, 32, 32, dtype=torch.uint8), "torch.uint8"),
        (torch.full((2, 3, 32, 32), 255.0), r"\[255, 255\].*pixels in \[255, 255\] instead of \[0, 1\]"),
        (torch.full((2, 3, 32, 32), float("nan")), "no numbers"),
    ],
)
def test_images_that_cannot_be_are_refused(images: Tensor, message: str) -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    with pytest.raises(ValueError, match=message):
        wrapper(images)


def test_images_that_lie_elsewhere_than_the_companions_are_refused() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, _ = a_batch()
    wrapper(images)
    with pytest.raises(ValueError, match="lie on meta, but the companions on cpu"):
        wrapper(images.to("meta"))


def test_images_of_other_channels_than_the_first_batch_are_refused() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.build(a_batch()[0])
    with pytest.raises(ValueError, match="1 channels, but the companions were built for 3"):
        wrapper.companions.build(a_batch(channels=1)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clean_share": 1.5}, r"`clean_share` \(=1.5\)"),
        ({"halo": -0.1}, r"`halo` \(=-0.1\)"),
        ({"background": "forest"}, r"`background` \(='forest'\)"),
        ({"mask_generator": "vnet"}, r"`mask_generator` \(='vnet'\)"),
        ({"mean": 0.5}, "must be given together"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialBackground(tiny_classifier(), **options)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    with pytest.raises(ValueError, match=message):
        advbg.attach(tiny_classifier(), optimizer, **options)


def test_companions_step_with_timms_lookahead_from_the_first_step() -> None:
    wrapper = adversarial_wrapper()
    optimizer = create_optimizer_v2(wrapper, opt="lookahead_sgd", lr=0.1)
    wrapper.attach(optimizer)
    for step in range(3):
        images, targets = a_batch(seed=step)
        wrapper.zero_grad()
        torch.nn.functional.cross_entropy(wrapper(images), targets).backward()
        optimizer.step()
    assert wrapper.companions.step_count == 3

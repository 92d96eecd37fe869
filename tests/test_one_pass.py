"""The max step rides on the user's own backward pass."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from advbg.max_step import reverse_gradient
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def test_the_models_gradient_is_that_of_plain_training_on_the_composite() -> None:
    model = tiny_classifier()
    wrapper = adversarial_wrapper(model, clean_share=0.0, halo=0.0)
    images, targets = a_batch()
    seen: list[torch.Tensor] = []
    handle = model.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    wrapper.companions.attached = True
    F.cross_entropy(wrapper(images), targets).backward()
    handle.remove()

    reference = copy.deepcopy(model).double()
    reference.zero_grad()
    F.cross_entropy(reference(seen[0].double()), targets).backward()
    assert not torch.equal(seen[0], images)
    for ours, exact in zip(model.parameters(), reference.parameters(), strict=True):
        assert exact.grad is not None
        torch.testing.assert_close(ours.grad, exact.grad.float(), rtol=1e-4, atol=1e-6)
        assert exact.grad.abs().sum() > 0


def test_a_step_down_the_generators_gradient_raises_the_users_loss() -> None:
    model = tiny_classifier()
    model[0].weight.data *= 3
    wrapper = adversarial_wrapper(model, clean_share=0.0, halo=0.0)
    companions = wrapper.companions
    companions.attached = True
    images, targets = a_batch(24)
    companions.build(images)
    state = companions.generator.get_state()

    def loss_of_the_same_draw() -> torch.Tensor:
        companions.generator.set_state(state)
        return F.cross_entropy(wrapper(images), targets)

    before = loss_of_the_same_draw()
    before.backward()
    with torch.no_grad():
        climbing = [parameter for parameter in companions.source.parameters() if parameter.grad is not None]
        for parameter in climbing:
            parameter -= 1e-3 * parameter.grad
    assert climbing
    assert loss_of_the_same_draw() > before


def test_an_adversarial_step_has_one_forward_and_one_backward_of_the_model() -> None:
    model = tiny_classifier()
    wrapper = adversarial_wrapper(model)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    calls = {"forward": 0, "backward": 0}
    model.register_forward_hook(lambda *_: calls.__setitem__("forward", calls["forward"] + 1))
    model[-1].register_full_backward_hook(lambda *_: calls.__setitem__("backward", calls["backward"] + 1))
    train(wrapper, optimizer, 3)
    assert calls == {"forward": 3, "backward": 3}


def _companion_gradients(scale: float) -> list[torch.Tensor]:
    wrapper = adversarial_wrapper(tiny_classifier(channels=1))
    wrapper.companions.attached = True
    images, targets = a_batch(channels=1)
    (scale * F.cross_entropy(wrapper(images), targets)).backward()
    source = wrapper.companions.source
    return [parameter.grad for parameter in source.parameters()]


def test_a_loss_scale_leaves_the_companions_gradients_as_they_are() -> None:
    plain, scaled = _companion_gradients(1.0), _companion_gradients(65536.0)
    assert any(gradient.abs().sum() > 0 for gradient in plain if gradient is not None)
    for ours, theirs in zip(plain, scaled, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_each_images_reversed_gradient_has_length_one_and_points_the_other_way() -> None:
    backgrounds = torch.rand(3, 3, 5, 7, requires_grad=True)
    gradient = torch.randn(3, 3, 5, 7) * torch.tensor([1e-30, 1.0, 1e30])[:, None, None, None]
    reverse_gradient(backgrounds).backward(gradient)
    exact = gradient.double()
    exact = -exact / exact.flatten(1).norm(dim=1)[:, None, None, None]
    torch.testing.assert_close(backgrounds.grad, exact.float())


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_an_image_whose_gradient_is_zero_or_not_finite_has_none(bad: float) -> None:
    backgrounds = torch.rand(2, 3, 4, 4, requires_grad=True)
    gradient = torch.ones(2, 3, 4, 4)
    gradient[0] = 0.0
    gradient[0, 0, 0, 0] = bad
    reverse_gradient(backgrounds).backward(gradient)
    assert backgrounds.grad is not None
    assert not backgrounds.grad[0].any()
    assert backgrounds.grad[1].norm().item() == pytest.approx(1.0)


@pytest.mark.parametrize(("brightness", "pushed"), [(0.4, False), (0.6, True)])
@pytest.mark.parametrize("scale", [1.0, 65536.0])
def test_only_monochrome_backgrounds_over_one_half_are_pushed_down(
    brightness: float, pushed: bool, scale: float
) -> None:
    # Without a gradient of the loss, only the fill term is left.
    for channels in (1, 3):
        backgrounds = torch.full((2, channels, 4, 4), brightness, requires_grad=True)
        reverse_gradient(backgrounds).backward(torch.zeros(2, channels, 4, 4) * scale)
        assert backgrounds.grad is not None
        expected = 16**-0.5 if pushed and channels == 1 else 0.0
        torch.testing.assert_close(backgrounds.grad, torch.full_like(backgrounds.grad, expected))


def test_gradients_of_the_companions_do_not_pile_up_where_the_user_clears_only_the_models() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    source = wrapper.companions.source
    assert all(parameter.grad is None for parameter in source.parameters())


def test_accumulated_batches_make_one_step_of_the_companions() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    for seed in range(3):
        images, targets = a_batch(seed=seed)
        F.cross_entropy(wrapper(images), targets).backward()
    assert wrapper.companions.step_count == 0
    optimizer.step()
    assert wrapper.companions.step_count == 1


def test_a_step_that_grad_scaler_skips_is_no_step_of_the_companions() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    for overflow in (True, False):
        images, targets = a_batch()
        loss = F.cross_entropy(wrapper(images), targets) * (float("inf") if overflow else 1.0)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        assert wrapper.companions.step_count == (0 if overflow else 1)
    assert all(torch.isfinite(parameter).all() for parameter in wrapper.companions.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_phase_trains_under_autocast(dtype: torch.dtype) -> None:
    from advbg import AdversarialBackground, Schedule

    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(classifier=1, mask=1))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    for step in range(3):
        images, targets = a_batch(seed=step)
        with torch.autocast("cpu", dtype=dtype):
            outputs = wrapper(images)
        assert outputs.dtype == dtype
        F.cross_entropy(outputs.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    companions = wrapper.companions
    assert wrapper.phase == "adversarial"
    assert all(torch.isfinite(parameter).all() for parameter in companions.parameters())
    assert all(parameter.dtype == torch.float32 for parameter in companions.parameters())


def test_clipping_the_models_gradients_ignores_the_companions() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, targets = a_batch()
    F.cross_entropy(wrapper(images), targets).backward()
    source = wrapper.companions.source
    for parameter in source.parameters():
        parameter.grad = torch.full_like(parameter, 1e6)
    total = torch.nn.utils.clip_grad_norm_(wrapper.parameters(), 1.0)
    exact = torch.stack([p.grad.norm() for p in wrapper.model.parameters() if p.grad is not None]).norm()
    assert total < 1e3
    assert exact <= 1.0 + 1e-4


def test_backgrounds_cover_the_normalised_range_of_the_pixels() -> None:
    space = PixelSpace((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ends = space.from_pixels(torch.stack([torch.zeros(3, 2, 2), torch.ones(3, 2, 2)]))
    torch.testing.assert_close(ends[0, :, 0, 0], torch.tensor([-2.1179, -2.0357, -1.8044]), rtol=0, atol=1e-3)
    torch.testing.assert_close(ends[1, :, 0, 0], torch.tensor([2.2489, 2.4286, 2.6400]), rtol=0, atol=1e-3)


def test_several_optimisers_train_beside_each_other() -> None:
    model = tiny_classifier()
    wrapper = adversarial_wrapper(model)
    body = torch.optim.SGD(model[0].parameters(), lr=0.1)
    head = torch.optim.Adam(model[-1].parameters(), lr=0.1)
    wrapper.attach(body)
    before = nn.utils.parameters_to_vector(model.parameters()).clone()
    images, targets = a_batch()
    F.cross_entropy(wrapper(images), targets).backward()
    body.step()
    head.step()
    assert wrapper.companions.step_count == 1
    assert not torch.equal(before, nn.utils.parameters_to_vector(model.parameters()))

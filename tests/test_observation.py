"""What plugins are told of a training."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbg import Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train
from tests.plugins import attached, plugged, plugin_of


def test_hook_phase_changed_tells_the_first_phase_and_each_change() -> None:
    told = []
    plugin = plugin_of(advbg_phase_changed=lambda phase, step: told.append((phase, step)))
    with plugged(plugin):
        wrapper, optimizer = attached(schedule=Schedule(2, 1))
        train(wrapper, optimizer, 5)
        assert told == [("classifier", 0), ("mask", 2), ("adversarial", 3)]
        told.clear()
        wrapper, _ = attached(schedule=Schedule(0, 9))
        wrapper(a_batch()[0], mask=a_batch()[0].amax(dim=1) > 0)
        assert told == [("adversarial", 0)]


def test_a_phase_is_told_with_the_step_that_led_to_it_and_not_with_the_next_batch() -> None:
    told = []
    with plugged(plugin_of(advbg_phase_changed=lambda phase: told.append(phase))):
        train(*attached(schedule=Schedule(1, 1)), 1)
    assert told == ["classifier", "mask"]


def test_hook_step_tells_the_scalars_of_each_phase() -> None:
    told = []

    def look(companions: Any, phase: str, step: int, scalars: Any) -> None:
        assert all(value.shape == () and not value.requires_grad for value in scalars.values())
        told.append((phase, step, {name: value.item() for name, value in scalars.items()}))

    with plugged(plugin_of(advbg_step=look)):
        wrapper, optimizer = attached(schedule=Schedule(1, 1), clean_share=0.0)
        for step in range(3):
            images, targets = a_batch(seed=step)
            loss = nn.functional.cross_entropy(wrapper(images), targets)
            wrapper.companions.report(loss=loss)
            loss.backward()
            optimizer.step()
            assert told[-1][2].pop("loss") == loss.item()
    assert [entry[:2] for entry in told] == [("classifier", 1), ("mask", 2), ("adversarial", 3)]
    assert told[0][2] == {}
    assert told[1][2] == {"mask_loss": wrapper.companions.mask_loss.item()}
    assert set(told[2][2]) == {"mask_area", "background_mean", "background_spread", "harm"}
    assert all(0 < value <= 1 for name, value in told[2][2].items() if name != "harm")
    assert told[2][2]["harm"] > 0


def test_harm_is_how_much_the_loss_rises_when_backgrounds_go_uphill() -> None:
    told: dict[str, Tensor] = {}
    model = tiny_classifier().double()
    wrapper = adversarial_wrapper(model, clean_share=0.25, halo=0.0)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.0)
    wrapper.attach(optimizer)
    images, targets = a_batch()
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0])
        args[0].retain_grad()

    handle = model.register_forward_pre_hook(keep)
    with plugged(plugin_of(advbg_step=lambda scalars: told.update(scalars))):
        nn.functional.cross_entropy(wrapper(images.double()), targets).backward()
        optimizer.step()
    handle.remove()
    # Only the background's pixels of composited images can move.
    free = (images == 0).all(dim=1, keepdim=True) & (seen[0] != images).flatten(1).any(dim=1)[:, None, None, None]
    gradient = torch.where(free, seen[0].grad, 0.0)
    length = gradient.flatten(1).norm(dim=1)
    assert told["harm"].item() == pytest.approx(length.sum().item(), rel=1e-4)
    uphill = 1e-3 * gradient / length.clamp_min(1e-30)[:, None, None, None]
    before, after = (nn.functional.cross_entropy(model(seen[0].detach() + move), targets) for move in (0, uphill))
    assert ((after - before) / 1e-3).item() == pytest.approx(told["harm"].item(), rel=0.05)


def test_hook_composite_shows_what_the_model_sees() -> None:
    told: list[tuple[Tensor, Tensor, Tensor]] = []
    seen: list[Tensor] = []
    plugin = plugin_of(advbg_composite=lambda images, mask, composites: told.append((images, mask, composites)))
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero", halo=0.0)
    wrapper.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images = a_batch()[0]
    with plugged(plugin):
        wrapper(images)
        params = wrapper.generate_parameters(images)
        wrapper.eval()(images, params=params)
    ((shown, mask, composites),) = told
    assert torch.equal(shown, images)
    assert torch.equal(mask, (images > 0).any(dim=1, keepdim=True).float())
    assert torch.equal(composites, seen[0])
    assert not composites.requires_grad


def test_the_images_that_plugins_see_carry_no_graph() -> None:
    told: list[Tensor] = []
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    with plugged(plugin_of(advbg_composite=lambda images: told.append(images))):
        wrapper(a_batch()[0].requires_grad_())
    assert [images.requires_grad for images in told] == [False]


def test_where_nobody_listens_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("computed for nobody")

    monkeypatch.setattr("torch.std_mean", never)
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    wrapper.companions.report(loss=1.0)
    loss = wrapper(a_batch()[0]).sum()
    assert wrapper.companions.observation.scalars == {}
    loss.backward()
    assert wrapper.companions.observation.scalars == {}


def test_what_is_no_scalar_is_refused_also_where_nobody_listens() -> None:
    wrapper, _ = attached()
    with pytest.raises(ValueError, match=r"`loss` has shape \(8,\), expected a scalar"):
        wrapper.companions.report(loss=torch.zeros(8))


def test_looking_on_changes_nothing() -> None:
    def losses() -> list[float]:
        return train(*attached(schedule=Schedule(1, 1), seed=3), 5)

    alone = losses()
    looker = plugin_of(
        advbg_step=lambda scalars: None, advbg_composite=lambda images: None, advbg_phase_changed=lambda phase: None
    )
    with plugged(looker):
        assert losses() == alone


def test_what_was_reported_before_a_batch_is_composited_is_told_with_it() -> None:
    told: dict[str, Tensor] = {}
    wrapper, optimizer = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    images, targets = a_batch()
    with plugged(plugin_of(advbg_step=lambda scalars: told.update(scalars))):
        wrapper.companions.report(temperature=0.5)
        nn.functional.cross_entropy(wrapper(images), targets).backward()
        optimizer.step()
    assert told["temperature"] == 0.5
    assert "mask_area" in told

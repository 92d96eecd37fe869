"""What each phase does, to whom, and from which pixels."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from advbg import AdversarialBackground, PaperObjective, Photographs, Schedule
from advbg.backgrounds import SOURCE_NAMES
from advbg.masks import UNet
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def _attached(**options: object) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    wrapper = AdversarialBackground(tiny_classifier(), **options)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    return wrapper, optimizer


def _weights(part: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in part.parameters()]


def _same(before: list[Tensor], part: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, part.parameters(), strict=True))


@settings(max_examples=10, deadline=None)
@given(classifier=st.integers(0, 3), mask=st.integers(1, 3), accumulated=st.integers(1, 2))
def test_phases_advance_by_optimiser_steps_and_not_by_batches(classifier: int, mask: int, accumulated: int) -> None:
    wrapper, optimizer = _attached(schedule=Schedule(classifier, mask))
    expected = ["classifier"] * classifier + ["mask"] * mask + ["adversarial"] * 2
    for phase in expected:
        for seed in range(accumulated):
            assert wrapper.phase == phase
            images, targets = a_batch(2, seed=seed)
            F.cross_entropy(wrapper(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_each_phase_moves_its_own_companion_and_no_other() -> None:
    wrapper, optimizer = _attached(schedule=Schedule(2, 2))
    wrapper.companions.build(a_batch()[0])
    for phase in ("classifier", "mask", "adversarial"):
        assert wrapper.phase == phase
        masks, source = wrapper.companions.mask_generator, wrapper.companions.source
        masks_before, source_before = _weights(masks), _weights(source)
        train(wrapper, optimizer, 2)
        assert _same(masks_before, masks) == (phase != "mask")
        assert _same(source_before, source) == (phase != "adversarial")


@pytest.mark.parametrize(
    "mask_generator", ["nonzero", nn.Identity(), lambda pixels: pixels[:, :1]], ids=["name", "module", "function"]
)
def test_a_mask_generator_with_nothing_to_learn_skips_the_mask_phase(mask_generator: object) -> None:
    wrapper, _ = _attached(schedule=Schedule(0, 50), mask_generator=mask_generator)
    assert wrapper.phase == "adversarial"


def test_a_frozen_mask_generator_of_ones_own_is_used_as_it_is() -> None:
    unet = UNet(3, depth=1, filters=4).requires_grad_(False)
    wrapper, optimizer = _attached(schedule=Schedule(0, 50), mask_generator=unet)
    before = _weights(unet)
    assert wrapper.phase == "adversarial"
    train(wrapper, optimizer, 2)
    assert wrapper.companions.mask_generator is unet
    assert _same(before, unet)


def test_the_mask_belongs_to_the_very_pixels_that_are_composited() -> None:
    recorded: list[Tensor] = []
    seen: list[Tensor] = []

    def recording(pixels: Tensor) -> Tensor:
        recorded.append(pixels.clone())
        return (pixels[:, :1] > 0.5).float()

    model = tiny_classifier()
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    wrapper = adversarial_wrapper(model, mask_generator=recording, mean=0.3, std=0.6, clean_share=0.0, halo=0.0)
    wrapper.companions.attached = True
    for seed in range(3):
        augmented = (torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) - 0.3) / 0.6
        wrapper(augmented)
        torch.testing.assert_close(recorded[-1], augmented * 0.6 + 0.3)
        kept = (recorded[-1][:, :1] > 0.5).expand(-1, 3, -1, -1)
        assert torch.equal(seen[-1][kept], augmented[kept])
        assert (seen[-1][~kept] != augmented[~kept]).all()
    # Once more in the first batch, for one image, to see that they are masks.
    assert (len(recorded), len(seen)) == (4, 3)


@pytest.mark.parametrize("phase", ["mask", "adversarial"])
def test_accumulated_batches_add_up_their_companions_gradients(phase: str) -> None:
    options = {"mask": {"schedule": Schedule(0, 9)}, "adversarial": {"mask_generator": "nonzero"}}[phase]
    wrapper, _ = _attached(**{"schedule": Schedule(0, 0), **options})
    batches = [a_batch(seed=seed) for seed in range(2)]
    wrapper.companions.build(batches[0][0])
    part = wrapper.companions.mask_generator if phase == "mask" else wrapper.companions.source

    def gradients(several: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
        for images, targets in several:
            F.cross_entropy(wrapper(images), targets).backward()
        made = [torch.zeros_like(p) if p.grad is None else p.grad for p in part.parameters()]
        part.zero_grad()
        return made

    start = wrapper.companions.generator.get_state()
    apart = [gradients([batch]) for batch in batches]
    wrapper.companions.generator.set_state(start)
    together = gradients(batches)
    assert any(gradient.any() for gradient in together)
    for total, first, second in zip(together, *apart, strict=True):
        torch.testing.assert_close(total, first + second, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("background", [*SOURCE_NAMES, "photographs"])
def test_a_model_trains_before_backgrounds_of_every_source(background: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), (200, 100, 50)).save(tmp_path / "wall.png")
    source = Photographs(tmp_path) if background == "photographs" else background
    wrapper, optimizer = _attached(
        schedule=Schedule(0, 0), mask_generator="nonzero", background=source, clean_share=0.0
    )
    seen: list[Tensor] = []
    wrapper.model.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    before = _weights(wrapper.model)
    train(wrapper, optimizer, 3)
    assert not _same(before, wrapper.model)
    behind = seen[-1][:, :, 0, 0]
    if background == "photographs":
        torch.testing.assert_close(behind, torch.tensor([200, 100, 50]).div(255).expand(8, 3), atol=1e-3, rtol=0)
    elif background == "black":
        assert not behind.any()
    else:
        assert behind.unique().numel() > 8


def test_without_gradients_the_mask_phase_learns_nothing() -> None:
    wrapper, _ = _attached(schedule=Schedule(0, 9))
    images, _ = a_batch()
    with torch.no_grad():
        assert torch.equal(wrapper(images), wrapper.model(images))
    assert all(parameter.grad is None for parameter in wrapper.companions.mask_generator.parameters())


def test_targets_reach_the_mask_objective() -> None:
    received: list[object] = []

    def criterion(outputs: Tensor, targets: Tensor) -> Tensor:
        received.append(targets)
        return F.cross_entropy(outputs, targets)

    wrapper, _ = _attached(schedule=Schedule(0, 9), mask_objective=PaperObjective(criterion=criterion))
    images, targets = a_batch()
    wrapper(images, targets=targets)
    assert len(received) == 1
    assert received[0] is targets


@pytest.mark.parametrize(("size", "largest"), [((32, 32), 4), ((30, 45), 4), ((100, 130), 6), ((16, 16), 2)])
def test_the_halo_is_drawn_up_to_its_share_of_the_masks_shorter_side(size: tuple[int, int], largest: int) -> None:
    wrapper = adversarial_wrapper(halo=1 / 8)
    halo = wrapper.generate_parameters(torch.rand(200, 3, *size)).halo
    assert sorted(halo.unique().tolist()) == list(range(largest + 1))


def test_large_images_are_composited_with_masks_made_small() -> None:
    recorded: list[Tensor] = []

    def recording(pixels: Tensor) -> Tensor:
        recorded.append(pixels)
        return (pixels.mean(dim=1, keepdim=True) > 0.2).float()

    wrapper = adversarial_wrapper(nn.Identity(), mask_generator=recording, clean_share=0.0, halo=0.0)
    wrapper.companions.attached = True
    images, _ = a_batch(size=(100, 130))
    made = wrapper(images)
    assert recorded[-1].shape == (8, 3, 49, 64)
    # The block itself is kept, but for the soft edge; the corners are replaced.
    assert torch.equal(made[:, :, 30:70, 40:90], images[:, :, 30:70, 40:90])
    assert (made[:, :, :15, :15] != images[:, :, :15, :15]).all()


def test_companions_are_built_without_seeding_the_gpus_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(seed: int) -> None:
        raise AssertionError(f"the GPUs' random stream was seeded with {seed}")

    wrapper = adversarial_wrapper(mask_generator="unet")
    monkeypatch.setattr(torch.cuda, "manual_seed_all", refuse)
    wrapper.companions.build(a_batch()[0])


def test_the_seed_decides_the_mask_generators_first_weights() -> None:
    def first_weights(seed: int) -> Tensor:
        wrapper = AdversarialBackground(tiny_classifier(), seed=seed)
        wrapper.companions.build(a_batch()[0])
        return torch.cat([weights.flatten() for weights in wrapper.companions.mask_generator.parameters()])

    assert torch.equal(first_weights(1), first_weights(1))
    assert not torch.equal(first_weights(1), first_weights(2))


def test_a_step_before_the_first_batch_only_counts_and_is_warned_of() -> None:
    wrapper, optimizer = _attached(schedule=Schedule(1, 1))
    with pytest.warns(UserWarning, match="no image has passed"):
        optimizer.step()
    assert wrapper.phase == "mask"
    assert wrapper.companions.image_shape is None


def test_a_nan_batch_leaves_the_companions_finite_and_climbing() -> None:
    wrapper, optimizer = _attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    images, targets = a_batch()
    (F.cross_entropy(wrapper(images), targets) * float("nan")).backward()
    for parameter in wrapper.model.parameters():
        parameter.grad = None
    optimizer.step()
    optimizer.zero_grad()
    before = _weights(wrapper.companions.source)
    assert all(torch.isfinite(parameter).all() for parameter in before)
    train(wrapper, optimizer, 1)
    assert not _same(before, wrapper.companions.source)


def test_copied_companions_learn_apart_from_the_first() -> None:
    wrapper, optimizer = _attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    train(wrapper, optimizer, 2)
    twin = copy.deepcopy(wrapper)
    ours, model = _weights(wrapper.companions), _weights(wrapper.model)
    other = torch.optim.SGD(twin.parameters(), lr=0.1)
    twin.attach(other)
    train(twin, other, 2)
    assert twin.companions.step_count == 4
    assert wrapper.companions.step_count == 2
    assert _same(ours, wrapper.companions)
    assert _same(model, wrapper.model)
    assert not _same(ours, twin.companions)


def test_every_rank_has_the_same_masks_and_other_backgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = a_batch()

    def on_rank(rank: int) -> tuple[Tensor, Tensor]:
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda: rank)
        wrapper = adversarial_wrapper(mask_generator="unet", seed=3)
        backgrounds = wrapper.generate_parameters(images).backgrounds
        return torch.cat([weights.flatten() for weights in wrapper.companions.mask_generator.parameters()]), backgrounds

    (masks, backgrounds), (other_masks, other_backgrounds) = on_rank(0), on_rank(1)
    assert torch.equal(masks, other_masks)
    assert not torch.equal(backgrounds, other_backgrounds)


def test_a_state_for_images_of_another_shape_is_refused() -> None:
    state = adversarial_wrapper(tiny_classifier(channels=1))
    state.companions.build(a_batch(channels=1)[0])
    wrapper = adversarial_wrapper()
    wrapper.companions.build(a_batch()[0])
    with pytest.raises(RuntimeError, match="size mismatch"):
        wrapper.companions.load_state_dict(state.companions.state_dict())


def test_given_masks_are_remembered_when_a_run_goes_on() -> None:
    wrapper, optimizer = _attached(schedule=Schedule(0, 9))
    wrapper(a_batch()[0], mask=a_batch()[0].amax(dim=1) > 0)
    optimizer.step()
    resumed, _ = _attached(schedule=Schedule(0, 9))
    assert resumed.phase == "mask"
    resumed.companions.load_state_dict(wrapper.companions.state_dict())
    assert resumed.phase == "adversarial"


def test_draws_to_replay_carry_no_graph_of_the_generators() -> None:
    wrapper = adversarial_wrapper()
    images, _ = a_batch()
    assert wrapper.companions.draw(images).backgrounds.requires_grad
    assert not wrapper.generate_parameters(images).backgrounds.requires_grad


def test_companions_are_told_where_the_model_went_before_they_are_built() -> None:
    assert adversarial_wrapper().to("meta").companions.device == torch.device("meta")

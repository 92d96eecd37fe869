"""What trained companions make of images, now and after they were saved."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from advbg import AdversarialBackground, Photographs, Schedule
from advbg.preview import preview, rebuild
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def _trained(**options: object) -> AdversarialBackground:
    options = {"mean": 0.25, "std": 0.75, "schedule": Schedule(0, 2)} | options
    wrapper = AdversarialBackground(tiny_classifier(), **options)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 4)
    return wrapper


def test_a_preview_has_pixels_masks_and_composites_and_draws_from_no_stream() -> None:
    wrapper = _trained()
    images, _ = a_batch()
    before = wrapper.companions.generator.get_state()
    made = preview(wrapper.companions, images)
    assert torch.equal(before, wrapper.companions.generator.get_state())
    torch.testing.assert_close(made.images, images * 0.75 + 0.25)
    assert made.masks.shape == made.binarized.shape == (8, 1, 32, 32)
    assert set(made.binarized.unique().tolist()) <= {0.0, 1.0}
    inside = made.binarized.expand(-1, 3, -1, -1) == 1
    torch.testing.assert_close(made.composites[inside], made.images[inside])
    assert -1e-6 <= made.composites.min() <= made.composites.max() <= 1 + 1e-6
    assert not made.composites.requires_grad
    assert torch.equal(preview(wrapper.companions, images).composites, made.composites)
    assert not torch.equal(preview(wrapper.companions, images, seed=1).composites, made.composites)


def test_masks_are_shown_at_the_size_of_large_images() -> None:
    wrapper = _trained()
    images, _ = a_batch(2, size=(96, 80))
    made = preview(wrapper.companions, images)
    assert made.masks.shape == made.binarized.shape == (2, 1, 96, 80)
    assert made.composites.shape == images.shape


def test_a_preview_shows_clutter_and_rebuilt_companions_show_the_same() -> None:
    wrapper = _trained(background="black", clutter=1.0)
    images, _ = a_batch()
    made = preview(wrapper.companions, images)
    outside = made.binarized.expand(-1, 3, -1, -1) == 0
    assert outside.any()
    assert (made.composites[outside] > 0).float().mean() > 0.5
    assert torch.equal(preview(rebuild(wrapper.companions.state_dict()), images).composites, made.composites)


def test_given_masks_are_shown_and_masks_that_were_never_learned_are_not() -> None:
    images, _ = a_batch()
    wrapper = adversarial_wrapper(tiny_classifier(), mean=0.25, std=0.75, background="black", mask_generator="unet")
    mask = torch.zeros(8, 32, 32, dtype=torch.bool)
    mask[:, 8:24, 8:24] = True
    with pytest.raises(ValueError, match="the mask generator 'unet' has learned nothing: pass `mask=`"):
        preview(wrapper.companions, images)
    made = preview(wrapper.companions, images, mask=mask)
    assert torch.equal(made.masks, mask[:, None].float())
    assert torch.equal(made.binarized, made.masks)
    torch.testing.assert_close(made.composites, made.images * made.masks)
    with pytest.raises(ValueError, match="`mask` has shape"):
        preview(wrapper.companions, images, mask=mask[:1])


@pytest.mark.parametrize(
    "background", ["adversarial", "paper", "noise", [("adversarial", 2), ("scenes", 0.5)], [("noise", 2)]]
)
def test_saved_companions_are_rebuilt_and_make_the_same(background: str | list[tuple[str, float]]) -> None:
    wrapper = _trained(background=background)
    images, _ = a_batch()
    rebuilt = rebuild(wrapper.companions.state_dict())
    for field in ("images", "masks", "binarized", "composites"):
        ours, theirs = (getattr(preview(companions, images), field) for companions in (wrapper.companions, rebuilt))
        assert torch.equal(ours, theirs)


def test_companions_that_saw_photographs_are_rebuilt_with_a_folder_of_any_place(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), "green").save(tmp_path / "lawn.png")
    mixture = [("adversarial", 1), (Photographs(tmp_path), 1)]
    state = _trained(background=mixture).companions.state_dict()
    shutil.copytree(tmp_path, tmp_path / "moved")
    moved = [("adversarial", 1), (Photographs(tmp_path / "moved"), 1)]
    images, _ = a_batch()
    first, second = (preview(rebuild(state, background), images).composites for background in (mixture, moved))
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"`background` \(='1 adversarial \+ 1 Photographs'\).*pass what it was"):
        rebuild(state)
    with pytest.raises(RuntimeError, match=r"saved with `background` '1 adversarial \+ 1 Photographs', but"):
        rebuild(state, "adversarial")


def test_rebuilt_companions_are_in_their_phase_and_know_their_task() -> None:
    wrapper = _trained(schedule=Schedule(1, 2), task="regression")
    rebuilt = rebuild(wrapper.companions.state_dict())
    assert (rebuilt.phase, rebuilt.options.task, rebuilt.options.schedule) == (
        "adversarial",
        "regression",
        Schedule(1, 2),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_another_default_dtype_and_autocast_change_nothing(dtype: torch.dtype) -> None:
    wrapper = _trained()
    images, _ = a_batch()
    expected = preview(wrapper.companions, images)
    torch.set_default_dtype(dtype)
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            made = preview(wrapper.companions, images)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(made.composites, expected.composites)
    assert torch.equal(made.masks, expected.masks)


def test_a_source_that_makes_other_shapes_is_named() -> None:
    class Small:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return torch.zeros(count, 3, 4, 4)

    wrapper = adversarial_wrapper(background=Small())
    images, _ = a_batch()
    with pytest.raises(ValueError, match=r"Small.sample made backgrounds of shape \(8, 3, 4, 4\), expected"):
        preview(wrapper.companions, images)


def test_what_cannot_be_rebuilt_is_refused_with_the_reason() -> None:
    with pytest.raises(RuntimeError, match="not a state of companions"):
        rebuild(tiny_classifier().state_dict())
    with pytest.raises(ValueError, match="before their first batch"):
        rebuild(adversarial_wrapper().companions.state_dict())

    class Grey:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return torch.full((count, *shape), 0.5)

    with pytest.raises(ValueError, match=r"`background` \(='.*Grey'\)"):
        rebuild(_trained(background=Grey()).companions.state_dict())

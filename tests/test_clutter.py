"""Pieces of other images' objects as backgrounds."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.clutter import add_clutter


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 9),
    channels=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_the_share_says_how_many_backgrounds_are_replaced_and_all_stay_pixels(
    count: int, channels: int, height: int, width: int, share: float, seed: int, dtype: torch.dtype
) -> None:
    backgrounds = torch.full((count, channels, height, width), 0.5)
    pixels = torch.rand(backgrounds.shape, generator=_generator(seed)).clamp_min(0.6).to(dtype)
    mask = (torch.rand(count, 1, height, width, generator=_generator(seed)) > 0.7).float()
    cluttered = add_clutter(backgrounds, pixels, mask, share, _generator(seed))
    assert (cluttered.shape, cluttered.dtype) == (backgrounds.shape, torch.float32)
    assert cluttered.isfinite().all()
    assert ((cluttered >= 0) & (cluttered <= 1)).all()
    replaced = int((cluttered != 0.5).flatten(1).any(dim=1).sum())
    assert abs(replaced - share * count) < 1
    assert torch.equal(cluttered, add_clutter(backgrounds, pixels, mask, share, _generator(seed)))


def test_over_many_single_images_the_share_is_met() -> None:
    generator = _generator()
    draws = [
        add_clutter(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4), 0.3, generator)
        for _ in range(500)
    ]
    assert torch.cat(draws).mean().item() == pytest.approx(0.3, abs=0.06)


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 12), seed=st.integers(0, 2**31))
def test_no_image_of_a_batch_stands_before_its_own_object(count: int, seed: int) -> None:
    shade = (torch.arange(count) + 1) / count
    pixels = shade[:, None, None, None].expand(-1, 3, 8, 8)
    pieces = add_clutter(torch.zeros(count, 3, 8, 8), pixels, torch.ones(count, 1, 8, 8), 1.0, _generator(seed))
    shown = pieces.mean(dim=(1, 2, 3))
    assert ((shown[:, None] - shade).abs().min(dim=1).values < 1e-6).all()
    assert ((shown - shade).abs() > 0.5 / count).all()


def test_pieces_show_objects_much_more_than_any_piece_of_the_image_would() -> None:
    pixels, mask = torch.zeros(64, 1, 32, 32), torch.zeros(64, 1, 16, 16)
    pixels[..., 4:12, 20:28], mask[..., 2:6, 10:14] = 1, 1
    pieces = add_clutter(torch.zeros_like(pixels), pixels, mask, 1.0, _generator())
    # A sixteenth of each image is object.
    assert (pieces.amax(dim=(1, 2, 3)) > 0.99).all()
    assert pieces.mean() > 0.2


def test_a_piece_is_a_square_of_the_image_from_a_sixth_to_more_than_all_of_it() -> None:
    # Whose coordinates its two channels show: in the middle of a piece, where no border reflects, they are linear.
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    pixels = torch.stack([rows, columns]).expand(200, -1, -1, -1)
    mask = torch.zeros(200, 1, 64, 64)
    mask[..., 28:36, 28:36] = 1
    pieces = add_clutter(torch.zeros_like(pixels), pixels, mask, 1.0, _generator()).double().numpy()
    down = (pieces[:, 0, 40, 32] - pieces[:, 0, 24, 32]) * 63 / 16
    across = (pieces[:, 1, 32, 40] - pieces[:, 1, 32, 24]) * 63 / 16
    np.testing.assert_allclose(np.abs(across), down, atol=2e-3)
    assert 0.16 < down.min() < 0.2
    assert 1.2 < down.max() < 1.41
    assert 0.4 < (across < 0).mean() < 0.6
    middle = pieces[:, :, 31:33, 31:33].mean(axis=(2, 3))
    assert (np.abs(middle - 0.5) < 0.08).all()


def test_images_without_an_object_lend_any_piece() -> None:
    # From black on the left to white on the right: a piece's brightness tells where it was.
    pixels = torch.linspace(0, 1, 64).expand(64, 1, 64, 64)
    pieces = add_clutter(torch.zeros_like(pixels), pixels, torch.zeros(64, 1, 64, 64), 1.0, _generator())
    brightness = pieces.mean(dim=(1, 2, 3))
    assert brightness.min() < 0.3
    assert brightness.max() > 0.7


def test_images_beyond_the_pixels_range_lend_pieces_within_it() -> None:
    pixels = torch.full((8, 3, 8, 8), 1.04)
    pixels[..., ::2] = -0.04
    pieces = add_clutter(torch.full((8, 3, 8, 8), 0.5), pixels, torch.ones(8, 1, 8, 8), 1.0, _generator())
    assert pieces.min() >= 0
    assert pieces.max() <= 1


def _wrapper(**options: object) -> AdversarialBackground:
    chosen = {"schedule": Schedule(0, 0), "mask_generator": "nonzero", "clean_share": 0.0, "halo": 0.0} | options
    return AdversarialBackground(nn.Identity(), **chosen).train()  # pyright: ignore[reportArgumentType]


def _objects(count: int = 16) -> Tensor:
    images = torch.zeros(count, 3, 16, 16)
    images[:, :, 4:12, 4:12] = torch.linspace(0.2, 1, count)[:, None, None, None]
    return images


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_composites_stand_before_pieces_of_other_objects_and_can_be_replayed() -> None:
    wrapper, images = _wrapper(clutter=1.0, background="black"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    shown = params.backgrounds.amax(dim=(1, 2, 3))
    assert ((shown - images.amax(dim=(1, 2, 3))).abs() > 0.01).all()
    assert torch.equal(composites[:, :, 4:12, 4:12], images[:, :, 4:12, 4:12])
    assert torch.equal(composites[..., 0, :], params.backgrounds[..., 0, :])
    assert torch.equal(wrapper(images[3:9], params=params[3:9]), composites[3:9])


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_given_masks_say_where_objects_are() -> None:
    images, mask = torch.zeros(8, 3, 16, 16), torch.zeros(8, 16, 16)
    images[..., 2:6, 2:6], mask[..., 2:6, 2:6] = 1, 1
    wrapper = _wrapper(clutter=1.0, background="black", mask_generator="unet")
    drawn = wrapper.generate_parameters(images, mask)
    assert (drawn.backgrounds.amax(dim=(1, 2, 3)) > 0.5).all()
    composites = wrapper(images, mask=mask)
    assert (composites[..., 2:6, 2:6] == 1).all()
    assert (composites.flatten(1).sum(dim=1) > 3 * 16).all()


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_backgrounds_that_are_not_pieces_still_climb() -> None:
    wrapper, images = _wrapper(clutter=0.5), _objects()
    wrapper(images).square().sum().backward()
    gradients = [weight.grad for weight in wrapper.companions.source.parameters() if weight.grad is not None]
    assert any(gradient.abs().max() > 0 for gradient in gradients)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_images_get_no_gradient_through_the_pieces_made_of_them() -> None:
    wrapper, images = _wrapper(clutter=1.0, background="black"), _objects()
    mask = (images[:, :1] > 0).float()
    wrapper(images.requires_grad_(), mask=mask).sum().backward()
    assert torch.equal(images.grad, mask.expand_as(images))


def test_masks_that_nobody_has_learned_are_refused_before_pieces_are_cut() -> None:
    wrapper = _wrapper(clutter=0.5, mask_generator="unet")
    with pytest.raises(ValueError, match="has learned nothing: pass `mask=`"):
        wrapper.generate_parameters(_objects())


def test_what_is_not_replaced_is_what_the_source_makes_without_clutter() -> None:
    images = _objects(8)
    plain, cluttered = _wrapper(background="noise"), _wrapper(background="noise", clutter=0.5)
    before = plain.generate_parameters(images).backgrounds
    after = cluttered.generate_parameters(images).backgrounds
    same = (before == after).flatten(1).all(dim=1)
    assert same.sum() == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clutter": 1.5}, r"`clutter` \(=1.5\) must be a share in \[0, 1\]"),
        ({"clutter": float("nan")}, r"`clutter` \(=nan\)"),
        (
            {"clutter": 0.5, "task": "segmentation"},
            r"`clutter` \(=0.5\) shows other objects, .* `task` \(='segmentation'\)",
        ),
    ],
)
def test_clutter_out_of_range_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialBackground(nn.Identity(), **options)  # pyright: ignore[reportArgumentType]

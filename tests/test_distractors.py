"""Other images' objects that stand in backgrounds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.clutter import add_distractors
from advbg.preview import preview, rebuild

_CLIMBS = "ignore:the model trains against backgrounds"


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(0, 9),
    channels=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    shrink=st.integers(1, 3),
    number=st.floats(0, 2),
    seed=st.integers(0, 2**31),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_backgrounds_stay_pixels_and_a_seed_says_which(
    count: int, channels: int, height: int, width: int, shrink: int, number: float, seed: int, dtype: torch.dtype
) -> None:
    backgrounds = torch.rand(count, channels, height, width, generator=_generator(seed))
    pixels = torch.rand(backgrounds.shape, generator=_generator(seed + 1)).to(dtype)
    mask = (torch.rand(count, 1, -(-height // shrink), -(-width // shrink), generator=_generator(seed)) > 0.5).float()
    filled = add_distractors(backgrounds, pixels, mask, number, _generator(seed))
    assert (filled.shape, filled.dtype) == (backgrounds.shape, torch.float32)
    assert ((filled >= 0) & (filled <= 1 + 1e-6)).all()
    assert torch.equal(filled, add_distractors(backgrounds, pixels, mask, number, _generator(seed)))


@pytest.mark.parametrize(("number", "share"), [(0.0, 0.0), (0.5, 1 - 0.75**2), (1.0, 0.75), (2.0, 1.0)])
def test_a_background_gets_none_one_or_two_of_them(number: float, share: float) -> None:
    shape, generator = (8, 1, 4, 4), _generator()
    filled = torch.cat(
        [
            add_distractors(torch.zeros(shape), torch.ones(shape), torch.ones(shape), number, generator)
            for _ in range(99)
        ]
    )
    assert filled.amax(dim=(1, 2, 3)).mean().item() == pytest.approx(share, abs=0.05)


def test_a_background_of_a_single_image_gets_the_second_where_it_does_not_get_the_first() -> None:
    one, generator = torch.ones(1, 1, 4, 4), _generator()
    filled = torch.cat([add_distractors(0 * one, one, one, 1.0, generator) for _ in range(500)])
    # Each of the two is drawn half of the time.
    assert filled.amax(dim=(1, 2, 3)).mean().item() == pytest.approx(0.75, abs=0.06)


def test_objects_are_cut_out_where_they_lie_in_their_own_images() -> None:
    pixels, mask, generator = torch.ones(2, 1, 32, 32), torch.zeros(2, 1, 32, 32), _generator()
    mask[0, :, 2:8, 2:8], mask[1, :, 24:30, 24:30] = 1, 1
    filled = torch.cat([add_distractors(torch.zeros_like(pixels), pixels, mask, 2.0, generator) for _ in range(40)])
    assert (filled.amax(dim=(1, 2, 3)) > 0.9).all()


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 12), seed=st.integers(0, 2**31))
def test_no_object_stands_behind_itself(count: int, seed: int) -> None:
    shade = (torch.arange(count) + 1) / count
    pixels = shade[:, None, None, None].expand(-1, 3, 8, 8)
    filled = add_distractors(torch.zeros(count, 3, 8, 8), pixels, torch.ones(count, 1, 8, 8), 2.0, _generator(seed))
    assert ((filled.mean(dim=(1, 2, 3)) - shade).abs() > 0.5 / count).all()


# A mask of a quarter of the size has edges of four pixels, of which the outer two are white.
@pytest.mark.parametrize(("rows", "brightest"), [(32, 0.5 + 1e-5), (8, 0.75)])
def test_no_more_is_seen_of_what_was_behind_them_than_their_masks_say(rows: int, brightest: float) -> None:
    # Grey objects before white, put before black: whatever is white came with them.
    pixels, mask = torch.ones(64, 3, 32, 32), torch.zeros(64, 1, rows, rows)
    pixels[..., 8:24, 8:24] = 0.5
    mask[..., rows // 4 : 3 * rows // 4, rows // 4 : 3 * rows // 4] = 1
    filled = add_distractors(torch.zeros_like(pixels), pixels, mask, 2.0, _generator())
    assert filled.max() < brightest
    assert (filled.amax(dim=(1, 2, 3)) > 0.45).all()
    # And the background is seen about them.
    assert (filled.amin(dim=(1, 2, 3)) == 0).float().mean() > 0.5


def test_images_without_an_object_lend_none() -> None:
    backgrounds = torch.rand(6, 3, 8, 8, generator=_generator())
    filled = add_distractors(backgrounds, torch.ones(6, 3, 8, 8), torch.zeros(6, 1, 8, 8), 2.0, _generator())
    assert torch.equal(filled, backgrounds)


def test_backgrounds_keep_their_gradient_where_no_object_hides_them_and_images_get_none() -> None:
    backgrounds, pixels = torch.zeros(16, 1, 16, 16, requires_grad=True), torch.ones(16, 1, 16, 16, requires_grad=True)
    mask = torch.zeros(16, 1, 16, 16)
    mask[..., 6:10, 6:10] = 1
    filled = add_distractors(backgrounds, pixels, mask, 2.0, _generator())
    filled.sum().backward()
    assert backgrounds.grad is not None
    torch.testing.assert_close(backgrounds.grad, 1 - filled.detach())
    assert pixels.grad is None


def _wrapper(**options: object) -> AdversarialBackground:
    chosen = {"schedule": Schedule(0, 0), "mask_generator": "nonzero", "clean_share": 0.0, "halo": 0.0} | options
    return AdversarialBackground(nn.Identity(), **chosen).train()  # pyright: ignore[reportArgumentType]


def _objects(count: int = 16) -> Tensor:
    images = torch.zeros(count, 3, 16, 16)
    images[:, :, 4:12, 4:12] = torch.linspace(0.2, 1, count)[:, None, None, None]
    return images


@pytest.mark.filterwarnings(_CLIMBS)
def test_objects_stand_before_backgrounds_with_others_and_can_be_replayed() -> None:
    wrapper, images = _wrapper(distractors=2.0, background="black"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    assert (params.backgrounds.amax(dim=(1, 2, 3)) > 0.1).all()
    assert torch.equal(composites[:, :, 4:12, 4:12], images[:, :, 4:12, 4:12])
    assert torch.equal(composites[..., 0, :], params.backgrounds[..., 0, :])
    assert torch.equal(wrapper(images[3:9], params=params[3:9]), composites[3:9])


@pytest.mark.parametrize("option", ["clutter", "distractors"])
def test_other_objects_are_the_same_pixels_however_images_were_normalised(option: str) -> None:
    drawn = []
    for mean, std in ((0.0, 1.0), (0.5, 0.25)):
        wrapper = _wrapper(mean=mean, std=std, background="black", **{option: 1.0})
        drawn.append(wrapper.generate_parameters((_objects() - mean) / std).backgrounds)
    assert drawn[0].max() > 0.5
    torch.testing.assert_close(drawn[1], drawn[0])


@pytest.mark.filterwarnings(_CLIMBS)
def test_they_stand_before_clutter_which_is_seen_about_them() -> None:
    # Objects are red before blue: pieces show both, and distractors hide more of the blue.
    images = torch.zeros(64, 3, 16, 16)
    images[:, 2], images[:, 2, 4:12, 4:12], images[:, 0, 4:12, 4:12] = 1, 0, 1
    mask = (images[:, :1] > 0).float()
    red, blue = [], []
    for distractors in (0.0, 2.0):
        wrapper = _wrapper(clutter=1.0, distractors=distractors, background="black", mask_generator="unet")
        shown = wrapper.generate_parameters(images, mask).backgrounds.mean(dim=(0, 2, 3))
        red.append(shown[0].item())
        blue.append(shown[2].item())
    assert red[1] > red[0] + 0.15
    assert 0.02 < blue[1] < blue[0] - 0.15


def test_images_beyond_the_pixels_range_leave_backgrounds_within_it() -> None:
    shape = (8, 3, 8, 8)
    filled = add_distractors(
        torch.ones(shape), torch.full(shape, 1.5), torch.full((8, 1, 8, 8), 0.6), 2.0, _generator()
    )
    assert filled.max() <= 1 + 1e-6


@pytest.mark.filterwarnings(_CLIMBS)
def test_a_preview_shows_them_unless_its_state_is_older_than_they_are() -> None:
    wrapper, images = _wrapper(distractors=2.0, background="black"), _objects()
    wrapper(images)
    state = wrapper.companions.state_dict()
    shown = preview(rebuild(state), images).composites
    assert torch.equal(shown, preview(wrapper.companions, images).composites)
    assert (shown != images).flatten(1).any(dim=1).float().mean() > 0.5
    del state["_extra_state"]["options"]["distractors"]
    assert torch.equal(preview(rebuild(state), images).composites, images)


def test_masks_that_nobody_has_learned_are_refused_before_objects_are_cut_out() -> None:
    wrapper = _wrapper(distractors=0.5, mask_generator="unet")
    with pytest.raises(ValueError, match="has learned nothing: pass `mask=`"):
        wrapper.generate_parameters(_objects())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distractors": 2.5}, r"`distractors` \(=2.5\) must be in \[0, 2\]"),
        ({"distractors": float("nan")}, r"`distractors` \(=nan\)"),
        ({"distractors": 1, "task": "segmentation"}, r"`distractors` \(=1\) shows other objects, .*'segmentation'"),
    ],
)
def test_numbers_of_distractors_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialBackground(nn.Identity(), **options)  # pyright: ignore[reportArgumentType]

"""Masks that nobody has to learn, and masks of large images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torchvision.transforms.v2.functional import resize

from advbg.masks import check_mask, nonzero_mask
from advbg.masks.learning import make_masks
from advbg.masks.resolution import enlarge, reduce_to_mask_size, reduced_size
from advbg.pixel_space import PixelSpace
from tests.models import adversarial_wrapper


def test_every_pixel_that_is_not_black_in_any_channel_is_foreground() -> None:
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, 2, 0, 1] = 1 / 255
    assert nonzero_mask(pixels).tolist() == [[[[0.0, 1.0], [0.0, 0.0]]]]


@settings(max_examples=30, deadline=None)
@given(
    mean=st.tuples(*[st.floats(0, 1)] * 3),
    std=st.tuples(*[st.floats(0.1, 1)] * 3),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    level=st.integers(1, 255),
)
def test_black_stays_black_however_images_are_normalised(
    mean: tuple[float, float, float], std: tuple[float, float, float], dtype: torch.dtype, level: int
) -> None:
    pixels = torch.zeros(1, 3, 4, 4, dtype=dtype)
    pixels[0, 0, 1, 2] = level / 255
    space = PixelSpace(mean, std)
    mask = make_masks(nonzero_mask, space.from_pixels(pixels), space)
    assert mask.nonzero().tolist() == [[0, 0, 1, 2]]


@pytest.mark.parametrize("side", [32, 128])
def test_a_wrapper_finds_objects_on_black_that_was_normalised_for_imagenet(side: int) -> None:
    pixels = torch.zeros(2, 3, side, side)
    pixels[:, :, : side // 4, : side // 4] = 0.5
    mean, std = torch.tensor(IMAGENET_DEFAULT_MEAN), torch.tensor(IMAGENET_DEFAULT_STD)
    wrapper = adversarial_wrapper(mean=tuple(mean.tolist()), std=tuple(std.tolist()))
    images = (pixels - mean[:, None, None]) / std[:, None, None]
    assert wrapper.companions.foreground(images).mean().item() == pytest.approx(1 / 16, abs=0.01)


def test_a_given_mask_becomes_float_with_a_channel() -> None:
    images = torch.rand(2, 3, 4, 5)
    for mask in (torch.rand(2, 4, 5) > 0.5, torch.rand(2, 1, 4, 5, dtype=torch.float64)):
        checked = check_mask(mask, images)
        assert checked.shape == (2, 1, 4, 5)
        assert checked.dtype == torch.float32
        torch.testing.assert_close(checked.flatten(), mask.flatten().float())


def test_a_mask_on_another_device_is_named() -> None:
    with pytest.raises(ValueError, match="`mask` lies on meta, but `images` on cpu"):
        check_mask(torch.zeros(2, 4, 5, dtype=torch.bool, device="meta"), torch.rand(2, 3, 4, 5))


def test_a_mask_that_was_resized_may_leave_the_unit_interval_by_rounding_alone() -> None:
    block = torch.zeros(1, 300, 300)
    block[:, 60:240, 60:240] = 1
    small, images = resize(block, [128, 128], antialias=True), torch.rand(1, 3, 128, 128)
    assert small.max() > 1
    checked = check_mask(small, images)
    assert checked.max() == 1
    torch.testing.assert_close(checked[:, 0], small, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"`mask` ranges over \[0, 1.0011\], expected \[0, 1\]"):
        check_mask(small.clamp(max=1) * 1.0011, images)


def test_masks_are_made_at_no_more_than_64_pixels_in_the_images_proportions() -> None:
    assert reduced_size(torch.empty(1, 1, 32, 64)) == (32, 64)
    assert reduced_size(torch.empty(1, 1, 128, 256)) == (32, 64)
    assert reduced_size(torch.empty(1, 1, 1000, 3)) == (64, 1)


def test_small_images_are_left_as_they_are() -> None:
    images = torch.rand(1, 3, 64, 20)
    assert reduce_to_mask_size(images) is images
    assert enlarge(images, images.shape[-2:]) is images


def test_an_enlarged_mask_stays_in_the_unit_interval_with_its_mean() -> None:
    mask = (torch.rand(2, 1, 16, 16) > 0.5).float()
    large = enlarge(mask, torch.Size((64, 64)))
    assert large.shape == (2, 1, 64, 64)
    assert 0 <= large.min() <= large.max() <= 1
    torch.testing.assert_close(large.mean(dim=(1, 2, 3)), mask.mean(dim=(1, 2, 3)), atol=0.02, rtol=0)

"""What a plain background gives away."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbg import AdversarialBackground
from advbg.masks import StudioUNet
from advbg.masks.resolution import reduce_to_mask_size
from advbg.masks.studio import studio_color, studio_difference
from advbg.training.masks import guess_silhouettes


def test_the_studios_colour_is_the_median_of_the_border() -> None:
    images = torch.rand(3, 4, 9, 7)
    border = torch.ones(9, 7, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    expected = images[:, :, border].double().median(dim=2).values
    assert torch.equal(studio_color(images)[:, :, 0, 0].double(), expected)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 4),
    channels=st.sampled_from([1, 3, 5]),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 2**31),
)
def test_differences_lie_in_the_unit_interval_and_the_farthest_pixel_has_1(
    count: int, channels: int, height: int, width: int, seed: int
) -> None:
    images = torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(seed))
    images[0] = images[0, :, :1, :1]
    difference = studio_difference(images)
    assert difference.shape == (count, 1, height, width)
    assert 0 <= difference.min() <= difference.max() <= 1
    assert not difference[0].any()
    if height > 2 and width > 2:
        assert difference[1:].amax(dim=(1, 2, 3)).tolist() == pytest.approx([1.0] * (count - 1))


@settings(max_examples=30, deadline=None)
@given(value=st.integers(0, 255), height=st.integers(65, 300), width=st.integers(65, 300))
def test_rounding_in_a_flat_image_that_was_reduced_is_no_object(value: int, height: int, width: int) -> None:
    reduced = reduce_to_mask_size(torch.full((1, 3, height, width), value / 255))
    assert studio_difference(reduced).max() < 0.1
    assert guess_silhouettes(reduced).sum() == 0


def test_the_difference_is_the_square_root_of_the_largest_channels() -> None:
    images = torch.ones(1, 3, 8, 8)
    images[:, 0, 2:4, 2:4] = 0.2
    images[:, 1, 5, 5] = 0.8
    images[:, 2, 5, 5] = 0.9
    difference = studio_difference(images)
    assert difference[0, 0, 3, 3].item() == pytest.approx(1.0)
    assert difference[0, 0, 5, 5].item() == pytest.approx((0.2 / 0.8) ** 0.5)
    assert difference.count_nonzero() == 5


@pytest.mark.parametrize("channels", [1, 3])
def test_the_studio_u_net_is_named_and_makes_masks(channels: int) -> None:
    companions = AdversarialBackground(nn.Identity(), mask_generator="studio").companions
    images = torch.rand(2, channels, 40, 30)
    masks = companions.soft_mask(images)
    assert isinstance(companions.mask_generator, StudioUNet)
    assert masks.shape == (2, 1, 40, 30)
    assert 0 <= masks.min() <= masks.max() <= 1


def test_the_studio_u_net_sees_how_far_pixels_are_from_the_border() -> None:
    unet = StudioUNet.for_size(3, 32, 32)
    seen = []
    unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    first = next(module for module in unet.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.rand(2, 3, 32, 32)
    unet(images)
    assert torch.equal(seen[1], torch.cat([images, studio_difference(images)], dim=1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_studios_colour_has_the_images_dtype(dtype: torch.dtype) -> None:
    assert studio_color(torch.rand(2, 3, 8, 8).to(dtype)).dtype == dtype

"""Where a model's input lies."""

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import nn

from advbg.pixel_space import PixelSpace
from tests.models import run_without_type_checks


@settings(max_examples=20, deadline=None)
@given(
    channels=st.sampled_from([1, 3, 6]),
    mean=st.floats(0, 1),
    std=st.floats(0.05, 2),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_normalising_and_back_is_the_identity(channels: int, mean: float, std: float, dtype: torch.dtype) -> None:
    space = PixelSpace((mean,) * channels, (std,) * channels)
    pixels = torch.rand(2, channels, 4, 5, dtype=dtype)
    images = space.from_pixels(pixels)
    torch.testing.assert_close(images.double(), (pixels.double() - mean) / std, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(space.to_pixels(images), pixels.float(), rtol=1e-4, atol=1e-5)


def test_timms_configuration_is_found_and_arguments_come_first() -> None:
    model = timm.create_model("resnet10t", num_classes=2)
    assert PixelSpace.of(model).mean == tuple(model.pretrained_cfg["mean"])
    assert PixelSpace.of(model, 0.1, 0.2) == PixelSpace((0.1,), (0.2,), "arguments")
    assert PixelSpace.of(nn.Identity()) == PixelSpace((0.0,), (1.0,))


def test_images_that_look_unnormalised_to_a_timm_model_are_warned_about() -> None:
    space = PixelSpace.of(timm.create_model("resnet10t", num_classes=2))
    images = torch.rand(2, 3, 8, 8)
    images[0, 0, 0, 0] = 0.0
    with pytest.warns(UserWarning, match="not normalised"):
        space.check(images)


def test_pixels_that_were_not_normalised_as_it_was_said_are_warned_about() -> None:
    space = PixelSpace(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, "arguments")
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with pytest.warns(
        UserWarning, match=r"map to pixels in \[0\.\d+, 0\.\d+\], of \[0, 1\]: pass the `mean` and `std`"
    ):
        space.check(images)


def test_images_of_one_colour_and_of_most_pixels_are_not_warned_about() -> None:
    for pixels in (
        torch.full((2, 3, 4, 4), 0.4),
        torch.linspace(0.3, 0.7, 32).reshape(2, 1, 4, 4).expand(-1, 3, -1, -1),
    ):
        PixelSpace(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, "arguments").check(
            PixelSpace(IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD).from_pixels(pixels)
        )


def test_timms_configuration_is_found_in_a_model_that_is_parallel() -> None:
    model = timm.create_model("resnet10t", num_classes=2)
    assert PixelSpace.of(nn.DataParallel(model)) == PixelSpace.of(model) != PixelSpace()


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), (0.5,), "same number of channels"),
        ((), (), "same number of channels"),
        ((float("nan"),), (1.0,), "`mean`"),
        ((0.0,), (0.0,), "`std`"),
        ((0.0,), (float("inf"),), "`std`"),
    ],
)
def test_statistics_that_cannot_be_are_refused(mean: tuple[float, ...], std: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelSpace(mean, std)


def test_statistics_may_be_numbers_of_any_kind_and_others_are_named() -> None:
    # Within this suite beartype would refuse them first.
    run_without_type_checks(
        """
        import numpy, pytest, torch
        from advbg.pixel_space import PixelSpace

        model = torch.nn.Identity()
        array, tensor = numpy.array([0.5]), torch.tensor([0.5])
        for half in (0.5, [0.5], array, tensor, array[0], tensor[0]):
            space = PixelSpace.of(model, mean=half, std=half)
            assert (space.mean, space.std) == ((0.5,), (0.5,))
        with pytest.raises(TypeError, match="`mean` .='imagenet'. must be a number, or one for each channel"):
            PixelSpace.of(model, mean="imagenet", std=0.5)
        with pytest.raises(TypeError, match="`std` .=.*a.*. must be a number"):
            PixelSpace.of(model, mean=0.5, std=["a"])
        with pytest.raises(ValueError, match="`mean` has shape .1, 3, 1, 1., expected a number"):
            PixelSpace.of(model, mean=torch.full((1, 3, 1, 1), 0.5), std=0.5)
        with pytest.raises(ValueError, match="`mean` has shape .3, 1., expected a number"):
            PixelSpace.of(model, mean=numpy.full((3, 1), 0.5), std=numpy.ones((3, 1)))
        """
    )


def test_statistics_of_other_channels_than_the_images_are_refused() -> None:
    with pytest.raises(ValueError, match="has 3 channels, but `images` has 1"):
        PixelSpace((0.5,) * 3, (0.5,) * 3).check(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_pixels_are_in_full_precision_and_of_the_images_layout(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    images = torch.rand(2, 3, 6, 7).to(dtype).contiguous(memory_format=memory_format)
    pixels = PixelSpace((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)).to_pixels(images)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous(memory_format=memory_format)


def test_boxes_of_noise_are_let_through_with_the_right_statistics_and_refused_with_wrong_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    space = PixelSpace((0.45,), (0.225,))
    images = space.from_pixels(torch.rand(16, 3, 64, 64, generator=generator))
    images[:4, :, 8:40, 8:40] = torch.randn(4, 3, 32, 32, generator=generator)  # timm's `--reprob 0.25 --remode pixel`
    assert space.to_pixels(images).amin() < -0.05
    space.check(images)
    with pytest.raises(ValueError, match=r"% of them outside: pass the `mean` and `std`"):
        PixelSpace().check(images)
    images[0, 0, 0, 0] = float("inf")
    with pytest.raises(ValueError, match="inf"):
        space.check(images)


def test_a_little_overshoot_of_an_interpolation_is_let_through_and_more_is_not() -> None:
    space = PixelSpace((0.5,), (0.25,))
    space.check(torch.full((1, 3, 4, 4), 2.1))
    with pytest.raises(ValueError, match=r"pixels in \[1.08, 1.08\] instead of \[0, 1\]"):
        space.check(torch.full((1, 3, 4, 4), 2.3))


def test_black_is_black_where_timms_configuration_normalises_nothing() -> None:
    model = nn.Identity()
    model.pretrained_cfg = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    images = torch.rand(4, 3, 8, 8)
    images[0, 0, 0, 0] = 0.0
    PixelSpace.of(model).check(images)


def test_dark_images_are_not_warned_about() -> None:
    PixelSpace().check(0.25 * torch.rand(4, 3, 8, 8))


def test_images_of_which_one_channel_is_narrow_are_not_warned_about() -> None:
    images = 0.2 + 0.7 * torch.rand(4, 3, 8, 8)
    images[:, 0] = 0.5 + 0.1 * torch.rand(4, 8, 8)
    PixelSpace().check(images)

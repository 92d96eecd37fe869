"""The shapes of the mask generators."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbg.masks import PaperUNet, StudioUNet, UNet


@settings(max_examples=15, deadline=None)
@given(
    kind=st.sampled_from([UNet, StudioUNet, PaperUNet]),
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(5, 70),
    width=st.integers(5, 70),
)
def test_a_mask_has_the_images_size_and_lies_in_the_unit_interval(
    kind: type[UNet | PaperUNet], channels: int, height: int, width: int
) -> None:
    masks = kind.for_size(channels, height, width)(torch.rand(2, channels, height, width))
    assert masks.shape == (2, 1, height, width)
    assert 0 <= masks.min() <= masks.max() <= 1


def test_the_papers_unet_for_32_pixels_has_its_filters() -> None:
    convolutions = [module for module in PaperUNet.for_size(1, 32, 32).modules() if isinstance(module, nn.Conv2d)]
    sizes = [(convolution.in_channels, convolution.out_channels) for convolution in convolutions]
    # Down 32, 64, 128; bottom 128; up 128, 64, 32, each concatenated with its skip; head.
    assert sizes == [(1, 32), (32, 64), (64, 128), (128, 128), (128, 128), (256, 64), (128, 32), (64, 1)]


def test_the_default_is_lighter_than_the_papers() -> None:
    ours, paper = (sum(p.numel() for p in kind.for_size(1, 32, 32).parameters()) for kind in (UNet, PaperUNet))
    assert ours < paper / 4


@pytest.mark.parametrize("name", ["channels", "depth", "filters"])
def test_a_size_under_one_is_refused(name: str) -> None:
    arguments = {"channels": 1, "depth": 1, "filters": 1} | {name: 0}
    with pytest.raises(ValueError, match=rf"`{name}` \(=0\)"):
        UNet(**arguments)
    with pytest.raises(ValueError, match=rf"`{name}` \(=0\)"):
        StudioUNet(**arguments)


@pytest.mark.parametrize("kind", [UNet, StudioUNet, PaperUNet])
def test_mask_generators_of_large_images_do_not_grow_since_masks_are_small(kind: type[UNet | PaperUNet]) -> None:
    counts = [
        sum(parameter.numel() for parameter in kind.for_size(3, side, side).parameters())
        for side in (32, 64, 128, 224, 1024)
    ]
    assert counts[0] < counts[1] < counts[2] == counts[3] == counts[4]


def test_the_shorter_side_decides_how_often_an_image_is_halved() -> None:
    for size in ((16, 16), (16, 64), (64, 16)):
        assert len(UNet.for_size(3, *size).down) == 1
        assert len(PaperUNet.for_size(3, *size).down) == 2


@pytest.mark.parametrize("kind", [UNet, StudioUNet, PaperUNet])
def test_the_smallest_images_get_masks_too(kind: type[UNet | PaperUNet]) -> None:
    for size in ((4, 6), (2, 2), (1, 9)):
        assert kind.for_size(3, *size)(torch.rand(2, 3, *size)).shape == (2, 1, *size)

"""The layout in memory that models are trained in."""

import copy

import pytest
import torch
from torch import nn

from advbg.training.memory_format import use_channels_last


@pytest.mark.parametrize("channels", [1, 3, 4, 8])
def test_strided_convolutions_of_single_pixels_have_the_gradients_of_float64(channels: int) -> None:
    model = nn.Sequential(nn.Conv2d(channels, 48, 1, stride=2, bias=False), nn.ReLU(), nn.Conv2d(48, 8, 3))
    exact = copy.deepcopy(model).double()
    use_channels_last(model)
    images = torch.rand(10, channels, 64, 64, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        model.zero_grad()
        model(images.contiguous(memory_format=torch.channels_last)).square().mean().backward()
    exact(images.double()).square().mean().backward()
    for ours, theirs in zip(model.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=1e-4, atol=1e-6)


def test_all_other_layers_compute_in_channels_last() -> None:
    model = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2), nn.Conv2d(16, 16, 1, stride=2), nn.Conv2d(16, 8, 3))
    use_channels_last(model)
    images = torch.rand(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    assert model(images).is_contiguous(memory_format=torch.channels_last)
    assert not any(layer._forward_pre_hooks for layer in model)

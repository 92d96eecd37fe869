"""The paper's classifier."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbg.benchmark.classifier import PaperClassifier


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([8, 16, 32, 64]), st.integers(1, 4), st.integers(1, 12), st.integers(1, 3))
def test_images_become_a_logit_for_each_class(image_size, channels, classes, batch):
    model = PaperClassifier(image_size, channels, classes)
    assert model(torch.rand(batch, channels, image_size, image_size)).shape == (batch, classes)


@pytest.mark.parametrize(
    ("image_size", "filters"), [(8, [32]), (16, [32, 64]), (32, [32, 64, 128]), (128, [32, 64, 128, 256, 512])]
)
def test_blocks_halve_the_image_to_4_pixels_and_double_the_filters(image_size, filters):
    model = PaperClassifier(image_size)
    assert [layer.out_channels for layer in model if isinstance(layer, nn.Conv2d)] == filters
    assert sum(isinstance(layer, nn.MaxPool2d) for layer in model) == len(filters)


def test_the_layers_stand_in_the_papers_order():
    block = ["Conv2d", "ReLU", "MaxPool2d"]
    assert [type(layer).__name__ for layer in PaperClassifier()] == [*block * 3, "Flatten", "Linear", "ReLU", "Linear"]


def test_the_papers_network_for_digits_has_its_number_of_weights():
    convolutions = (1 * 32 + 32 * 64 + 64 * 128) * 9 + 32 + 64 + 128
    dense = (128 * 4 * 4 * 128 + 128) + (128 * 10 + 10)
    assert sum(parameter.numel() for parameter in PaperClassifier().parameters()) == convolutions + dense


def test_every_weight_gets_a_gradient():
    torch.manual_seed(0)
    model = PaperClassifier(8, 3, 4)
    model(torch.rand(16, 3, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("image_size", [-8, 0, 1, 4, 12, 28, 33])
def test_a_size_that_cannot_be_halved_to_4_is_refused(image_size):
    with pytest.raises(ValueError, match=rf"`image_size` \(={image_size}\) must be a power of two, 8 or more"):
        PaperClassifier(image_size)

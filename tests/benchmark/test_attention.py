"""AG-CNN: where it looks, what it cuts out, what it trains."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import label, regionprops

from advbg.benchmark.attention import AttentionClassifier, attended_boxes, crop

heat_maps = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(2, 6), st.integers(2, 6)),
    elements=st.integers(0, 20).map(float),
)


@settings(max_examples=60, deadline=None)
@given(heat_maps)
def test_the_box_is_that_of_the_largest_part_over_the_threshold(maps):
    boxes = attended_boxes(torch.from_numpy(maps)[:, None])
    rows, columns = maps.shape[1:]
    for heat, box in zip(maps, boxes.numpy(), strict=True):
        if heat.max() == heat.min():
            assert box.tolist() == [0, 0, 1, 1]
            continue
        parts = regionprops(label((heat - heat.min()) / (heat.max() - heat.min()) >= np.float32(0.7), connectivity=2))
        largest = max(part.area for part in parts)
        extents = [part.bbox for part in parts if part.area == largest]
        expected = [
            [left / columns, top / rows, right / columns, bottom / rows] for top, left, bottom, right in extents
        ]
        assert any(np.allclose(box, each) for each in expected)


def test_the_heat_map_is_the_strongest_response_of_either_sign():
    features = torch.zeros(1, 2, 4, 4)
    features[0, 0, 0, 0], features[0, 1, 3, 3] = 0.5, -2.0
    assert attended_boxes(features).tolist() == [[0.75, 0.75, 1.0, 1.0]]


def test_parts_of_different_images_are_not_joined():
    features = torch.zeros(2, 1, 4, 4)
    features[0, 0, 0, 0] = features[1, 0, 0, 0] = features[1, 0, 0, 1] = 1.0
    assert attended_boxes(features).tolist() == [[0, 0, 0.25, 0.25], [0, 0, 0.5, 0.25]]


def test_the_whole_box_gives_the_image_back():
    images = torch.rand(3, 2, 8, 8)
    assert torch.allclose(crop(images, torch.tensor([[0.0, 0, 1, 1]]).expand(3, 4)), images, atol=1e-6)


def test_a_quarter_is_enlarged_to_the_whole_size():
    images = torch.zeros(1, 1, 8, 8)
    images[..., 4:, :4] = 1.0
    assert crop(images, torch.tensor([[0.0, 0.5, 0.5, 1.0]]))[..., 1:, :7].min() == 1.0


def test_before_attending_it_is_the_plain_classifier_and_afterwards_only_the_rest_learns():
    torch.manual_seed(0)
    model, images = AttentionClassifier(16), torch.rand(4, 1, 16, 16)
    assert torch.equal(model(images), model.global_branch(images))
    model.attend()
    assert not torch.equal(model(images), model.global_branch(images))
    model(images).square().sum().backward()
    assert all(parameter.grad is None for parameter in model.global_branch.parameters())
    for part in (model.local_branch, model.fusion):
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())


@pytest.mark.parametrize("attending", [False, True])
def test_a_saved_classifier_attends_as_it_did(attending):
    model, other = AttentionClassifier(8), AttentionClassifier(8)
    if attending:
        model.attend()
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(model(images), other(images))

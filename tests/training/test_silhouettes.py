"""Objects before plain backgrounds, against a flood by scikit-image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.segmentation import flood

from advbg.training.silhouettes import flooded_silhouettes


def _not_reached(image):
    """What water does not reach that comes from around the image: wherever it is plain it flows on."""
    border = np.concatenate([image[:, 0], image[:, -1], image[:, 1:-1, 0], image[:, 1:-1, -1]], axis=1)
    color = np.sort(border, axis=1)[:, (border.shape[1] - 1) // 2]
    plain = np.abs(image.astype(int) - color.astype(int)[:, None, None]).max(axis=0) <= 15
    return ~flood(np.pad(plain, 1, constant_values=True), (0, 0), connectivity=1)[1:-1, 1:-1]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(2, 12), width=st.integers(2, 12), share=st.floats(0, 0.8))
def test_what_a_flood_from_the_border_does_not_reach_is_object(seed, height, width, share):
    generator = np.random.default_rng(seed)
    # The farthest shade that is taken for background, and the next.
    pixels = generator.choice([100, 115, 116], (3, 3, height, width), p=[1 - share, share / 2, share / 2])
    found = flooded_silhouettes(torch.from_numpy(pixels.astype(np.uint8)))
    assert found.shape == (3, 1, height, width)
    np.testing.assert_array_equal(found[:, 0], [_not_reached(image) for image in pixels])


@pytest.mark.parametrize("shade", [15, 16])
def test_a_channel_that_differs_by_more_than_15_levels_makes_a_pixel_part_of_the_object(shade):
    pixels = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    pixels[:, 1, 3, 3] = 200 - shade
    assert flooded_silhouettes(pixels).sum() == (shade > 15)


def test_holes_belong_to_the_object_and_bays_do_not():
    pixels = torch.full((2, 3, 9, 9), 255, dtype=torch.uint8)
    pixels[..., 2:7, 2:7] = 0
    pixels[..., 4, 4] = 255
    pixels[1, :, 4, 4:] = 255
    found = flooded_silhouettes(pixels)
    assert found.flatten(1).sum(dim=1).tolist() == [25, 22]


def test_images_are_flooded_alike_in_whatever_batch_they_fall():
    pixels = torch.full((70, 3, 6, 6), 255, dtype=torch.uint8)
    for index in range(70):
        pixels[index, :, 1 + index % 4, 1 + index // 4 % 4] = 0
    expected = (pixels == 0).any(dim=1, keepdim=True)
    assert torch.equal(flooded_silhouettes(pixels), expected)

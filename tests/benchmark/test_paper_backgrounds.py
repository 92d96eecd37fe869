"""The six test backgrounds, and how they are put behind objects."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from advbg.backgrounds.patterns import PATTERNS, board, border, circles, clock, random, stripes
from advbg.benchmark import paper_backgrounds
from advbg.benchmark.paper_backgrounds import dilated_silhouettes, replace_background

small_batches = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 12), st.integers(1, 12))
seeds = st.integers(0, 2**31)


def bresenham_circle(row, column, radius, size=32):
    """The midpoint algorithm, octant by octant."""
    image = np.zeros((size, size))
    x, y, error = 0, radius, 3 - 2 * radius
    while x <= y:
        for across, down in ((x, y), (y, x)):
            for right in (-across, across):
                for below in (-down, down):
                    if 0 <= row + below < size and 0 <= column + right < size:
                        image[row + below, column + right] = 1
        y, error = (y, error + 4 * x + 6) if error < 0 else (y - 1, error + 4 * (x - y) + 10)
        x += 1
    return image


def sparse_images(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator) * (torch.rand(shape, generator=generator) > 0.9)


def test_the_backgrounds_are_in_the_order_of_the_papers_tables():
    assert list(PATTERNS) == ["stripes", "board", "border", "circles", "clock", "random"]


@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("name", PATTERNS)
def test_a_background_is_black_and_white_at_any_size(name, size):
    background = PATTERNS[name](size)
    assert (background.shape, background.dtype) == ((size, size), torch.float32)
    assert background.unique().tolist() == [0, 1]


def test_stripes_are_two_pixels_thick_and_begin_at_the_lower_left_corner():
    expected = np.zeros((32, 32))
    for first in range(-31, 32, 10):
        for b in (first, first + 1):
            for column in range(32):
                if 0 <= column + b < 32:
                    expected[column + b, column] = 1
    np.testing.assert_array_equal(stripes().numpy(), expected)


def test_the_board_is_of_six_pixel_squares_that_begin_with_black_outside_the_image():
    expected = np.zeros((32, 32))
    for i, top in enumerate(range(-2, 32, 6)):
        for j, left in enumerate(range(-2, 32, 6)):
            expected[max(top, 0) : top + 6, max(left, 0) : left + 6] = (i + j) % 2
    np.testing.assert_array_equal(board().numpy(), expected)


def test_a_border_is_a_two_pixel_frame():
    np.testing.assert_array_equal(border().numpy(), np.pad(np.zeros((28, 28)), 2, constant_values=1))


def test_four_circles_of_radius_six_lie_eight_pixels_from_the_corners():
    expected = sum(bresenham_circle(row, column, 6) for row in (8, 24) for column in (8, 24))
    np.testing.assert_array_equal(circles().numpy(), expected)


def test_a_clock_is_two_circles_and_four_ticks():
    expected = np.maximum(bresenham_circle(16, 16, 15), bresenham_circle(16, 16, 14))
    expected[0:6, 15:17] = expected[26:32, 15:17] = expected[15:17, 0:6] = expected[15:17, 26:32] = 1
    np.testing.assert_array_equal(clock().numpy(), expected)


def test_random_is_the_authors_draw():
    expected = np.zeros(1024)
    expected[np.random.RandomState(0).choice(1024, 256, False)] = 1
    np.testing.assert_array_equal(random().numpy().ravel(), expected)


@given(rate=st.floats(0, 1), seed=seeds)
def test_random_has_its_share_of_white_pixels(rate, seed):
    assert random(16, rate=rate, seed=seed).sum() == int(256 * rate)


def test_another_seed_whitens_other_pixels():
    assert not torch.equal(random(seed=1), random(seed=2))


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(ValueError, match=rf"`rate` \(={rate}\) must be a share"):
        random(rate=rate)


@given(shape=small_batches, radius=st.integers(0, 3), seed=seeds)
def test_silhouettes_grow_by_a_disk(shape, radius, seed):
    images = sparse_images(shape, seed)
    offsets = np.arange(-radius, radius + 1)
    disk = np.hypot(*np.meshgrid(offsets, offsets)) <= radius
    expected = [ndimage.binary_dilation(image, disk) for image in (images > 0).any(dim=1).numpy()]
    silhouettes = dilated_silhouettes(images, radius)
    assert silhouettes.dtype == torch.bool
    np.testing.assert_array_equal(silhouettes.numpy()[:, 0], expected)


def test_the_faintest_pixel_of_any_channel_is_part_of_the_silhouette():
    images = torch.zeros(1, 3, 9, 9)
    images[0, 2, 4, 4] = 1e-6
    assert dilated_silhouettes(images).sum() == 13


def test_images_are_dilated_alike_in_whatever_chunk_they_fall(monkeypatch):
    images = sparse_images((7, 1, 16, 16), seed=0)
    expected = dilated_silhouettes(images)
    monkeypatch.setattr(paper_backgrounds, "_CHUNK", 3)
    assert torch.equal(dilated_silhouettes(images), expected)


@given(shape=small_batches, seed=seeds, dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_the_object_stays_and_every_other_pixel_takes_the_backgrounds_value(shape, seed, dtype):
    images = sparse_images(shape, seed).to(dtype)
    silhouettes = dilated_silhouettes(images)
    background = torch.rand(shape[-2:], generator=torch.Generator().manual_seed(seed))
    replaced = replace_background(images, silhouettes, background)
    assert (replaced.dtype, replaced.shape) == (dtype, images.shape)
    for image, silhouette, result in zip(images, silhouettes, replaced, strict=True):
        for channel, changed in zip(image, result, strict=True):
            assert torch.equal(changed[silhouette[0]], channel[silhouette[0]])
            assert torch.equal(changed[~silhouette[0]], background[~silhouette[0]].to(dtype))


def test_replacing_a_background_leaves_the_images_as_they_were():
    images = sparse_images((2, 1, 32, 32), seed=0)
    before = images.clone()
    replace_background(images, dilated_silhouettes(images), border())
    assert torch.equal(images, before)

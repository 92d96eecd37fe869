"""Objects that are shown many times over."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.copies import draw_copies, show_copies

_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
_GRIDS, _CELLS, _PER_CELL = 3, 6, 5


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _all_many(count: int, seed: int) -> Tensor:
    return draw_copies(torch.ones(count, dtype=torch.bool), 1.0, _generator(seed))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.1, 1.0))
def test_the_share_of_the_composites_shows_one_and_a_half_to_five_copies_a_side(seed: int, share: float) -> None:
    composited = torch.rand(600, generator=_generator(seed)) < 0.7
    cells = draw_copies(composited, share, _generator(seed))[:, 0]
    many = cells > 0
    assert not many[~composited].any()
    assert many[composited].float().mean() == pytest.approx(share, abs=0.12)
    assert 1.5 <= cells[many].min() < 2.5
    assert 3.5 < cells[many].max() <= 5


def test_each_factor_of_the_number_of_copies_is_as_frequent() -> None:
    share_of_range = (_all_many(4000, 0)[:, 0] / 1.5).log() / math.log(5 / 1.5)
    quantiles = torch.linspace(0.1, 0.9, 9)
    torch.testing.assert_close(share_of_range.quantile(quantiles), quantiles, rtol=0, atol=0.03)


def _expected(image: np.ndarray, mask: np.ndarray, draws: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One image's copies in float64, pixel by pixel of each grid, by scipy's interpolation.

    Also which pixels lie on the line between two cells, where rounding decides.
    """
    height, width = mask.shape
    halves = ((height + 1) // 2, (width + 1) // 2)
    weighted = torch.from_numpy(np.concatenate([image * mask, mask[None]]))[None]
    objects = torch.nn.functional.adaptive_avg_pool2d(weighted, halves)[0].numpy()
    cells, draws = draws[0], draws[1:]
    moves, drawn = draws[: 2 * _GRIDS].reshape(_GRIDS, 2), draws[2 * _GRIDS :]
    drawn = drawn.reshape(_GRIDS, _CELLS, _CELLS, _PER_CELL)
    shown, between = np.zeros((len(objects), height, width)), np.zeros((height, width), dtype=bool)
    for grid in range(_GRIDS):
        places = np.empty((2, height, width))
        for row in range(height):
            for column in range(width):
                right = cells * (column + 0.5) / width + moves[grid, 0]
                lower = cells * (row + 0.5) / height + moves[grid, 1]
                between[row, column] |= min(abs(place - round(place)) for place in (right, lower)) < 1e-5
                size, x, y, angle, mirrored = drawn[grid, math.floor(lower), math.floor(right)]
                size = 1 - size / 4
                # In pixels of a frame as large as the image, from its middle: turned there, nothing is sheared.
                across = width * (right % 1 - 0.5 - (x - 0.5) * (1 - size)) / size
                down = height * (lower % 1 - 0.5 - (y - 0.5) * (1 - size)) / size
                angle = math.pi / 3 * (2 * angle - 1)
                turned = math.cos(angle) * across + math.sin(angle) * down
                turned = -turned if mirrored < 0.5 else turned
                down = math.cos(angle) * down - math.sin(angle) * across
                places[:, row, column] = (
                    (down / height + 0.5) * halves[0] - 0.5,
                    (turned / width + 0.5) * halves[1] - 0.5,
                )
        copy = np.stack([ndimage.map_coordinates(plane, places, order=1, mode="grid-constant") for plane in objects])
        shown = shown * (1 - copy[-1]) + copy
    return shown[:-1], shown[-1], between


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(6, 24), width=st.integers(6, 24), channels=st.integers(1, 4))
def test_copies_lie_where_a_reference_in_float64_lays_them(seed: int, height: int, width: int, channels: int) -> None:
    images = torch.randn(2, channels, height, width, generator=_generator(seed))
    mask = torch.rand(2, 1, height, width, generator=_generator(seed + 1))
    copies = _all_many(2, seed)
    shown, where = show_copies(images, mask, copies)
    for index in range(2):
        colours, weight, between = _expected(*(part[index].double().numpy() for part in (images, mask[:, 0], copies)))
        inside = ~between
        np.testing.assert_allclose(where[index, 0].numpy()[inside], weight[inside], atol=1e-3)
        np.testing.assert_allclose((shown * where)[index].numpy()[:, inside], colours[:, inside], atol=1e-3)
        assert inside.mean() > 0.7


def test_a_heap_shows_the_objects_colour_alone_and_many_of_it() -> None:
    images, mask = torch.zeros(16, 3, 64, 64), torch.zeros(16, 1, 64, 64)
    images[:, 1] = 1.0  # what is behind the object
    images[:, :, 24:40, 24:40] = torch.tensor([0.7, 0.2, 0.4])[:, None, None]
    mask[..., 24:40, 24:40] = 1
    copies = _all_many(16, 3)
    shown, where = show_copies(images, mask, copies)
    for image, weight, cells in zip(shown, where[:, 0], copies[:, 0], strict=True):
        there = weight > 0.05
        colours = image[:, there]
        torch.testing.assert_close(colours, torch.tensor([0.7, 0.2, 0.4])[:, None].expand_as(colours))
        assert ndimage.label(weight.numpy() > 0.5)[1] >= max(2, int(cells) ** 2)


def test_an_object_of_whose_copies_nothing_would_be_left_stays_single() -> None:
    images, mask = torch.rand(4, 3, 16, 16), torch.zeros(4, 1, 16, 16)
    # Just enough to be seen where nothing shrinks it.
    mask[..., 8, 8] = 0.004
    shown, where = show_copies(images, mask, _all_many(4, 0))
    assert torch.equal(shown, images)
    assert torch.equal(where, mask)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from(_DTYPES), lying=st.booleans())
def test_what_stays_single_keeps_its_values_and_all_keep_dtype_and_layout(
    seed: int, dtype: torch.dtype, lying: bool
) -> None:
    layout = torch.channels_last if lying else torch.contiguous_format
    images = torch.rand(4, 3, 8, 6, generator=_generator(seed)).to(dtype).contiguous(memory_format=layout)
    mask = torch.ones(4, 1, 8, 6)
    mask[1] = 0  # no object: nothing would be left of the image
    copies = _all_many(4, seed)
    copies[0, 0] = 0
    shown, where = show_copies(images, mask, copies)
    assert shown.dtype == dtype
    assert shown.stride() == images.stride()
    assert torch.equal(shown[:2], images[:2])
    assert torch.equal(where[:2], mask[:2])
    assert not torch.equal(shown[2:], images[2:])


def _wrapper(**options: object) -> AdversarialBackground:
    wrapper = AdversarialBackground(
        nn.Identity(), schedule=Schedule(0, 0), mask_generator="nonzero", clean_share=0.25, halo=0.0, **options
    )
    return wrapper.train()


def _objects() -> Tensor:
    images = torch.zeros(64, 3, 16, 16)
    images[:, :, 3:13, 3:13] = 0.8
    return images


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_composites_show_copies_and_clean_images_stay_as_they_are() -> None:
    wrapper, images = _wrapper(copies=0.5, placement=0.5, background="black"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    assert params.copies is not None
    assert params.placement is not None
    many = params.copies[:, 0] > 0
    assert torch.equal(composites[~params.composited], images[~params.composited])
    assert 0 < many.sum() < params.composited.sum()
    assert (many & ~params.composited).sum() == 0
    # What is shown many times is small already.
    assert (params.placement[many, 0] == 1).all()
    assert (composites[many] != images[many]).flatten(1).any(dim=1).all()
    assert composites[many].min() >= 0
    assert composites[many].max() == pytest.approx(0.8, abs=1e-5)


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_replayed_parts_of_a_batch_have_the_same_copies() -> None:
    wrapper, images = _wrapper(copies=0.7, background="random"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    torch.testing.assert_close(wrapper(images[7:20], params=params[7:20]), composites[7:20])


def test_autocast_moves_no_copy() -> None:
    images, mask, copies = torch.rand(4, 3, 40, 40), torch.ones(4, 1, 40, 40), _all_many(4, 1)
    expected = show_copies(images, mask, copies)
    with torch.autocast("cpu", torch.bfloat16):
        shown = show_copies(images, mask, copies)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(shown, expected, strict=True))


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_images_without_an_object_stay_as_they_are_and_in_their_own_light() -> None:
    wrapper, images = _wrapper(copies=1.0, lighting=0.5, background="black"), _objects()
    mask = torch.zeros(64, 1, 16, 16)
    mask[32:] = 1
    composites = wrapper(images, mask=mask)
    assert torch.equal(composites[:32], images[:32])
    assert not torch.equal(composites[32:], images[32:])


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_copies_of_large_images_have_halos() -> None:
    options = {"schedule": Schedule(0, 0), "mask_generator": "nonzero", "clean_share": 0.0, "background": "black"}
    images = torch.zeros(16, 3, 96, 80)
    images[:, :, 20:76, 16:64] = 0.8
    covered = {}
    for halo in (0.0, 0.2):
        wrapper = AdversarialBackground(nn.Identity(), halo=halo, copies=1.0, **options).train()
        params = wrapper.generate_parameters(images)
        foreground = wrapper.companions.foreground(images, params=params)
        covered[halo] = show_copies(images, foreground, params.copies)[1].mean()
        assert wrapper(images, params=params).shape == images.shape
    assert covered[0.2] > 1.05 * covered[0.0]


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_without_the_option_nothing_is_drawn_for_copies() -> None:
    assert _wrapper().generate_parameters(_objects()).copies is None


def test_the_max_step_climbs_through_copies() -> None:
    wrapper = AdversarialBackground(
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4)),
        schedule=Schedule(0, 0),
        mask_generator="nonzero",
        copies=1.0,
    ).train()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    nn.functional.cross_entropy(wrapper(_objects()), torch.arange(64) % 4).backward()
    climbing = [parameter for parameter in wrapper.companions.source.parameters() if parameter.requires_grad]
    assert climbing
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in climbing)


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_images_get_a_finite_gradient_through_their_copies() -> None:
    images = _objects().requires_grad_()
    _wrapper(copies=1.0)(images).sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.any()


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_of_copies_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"`copies` \(=.*\) must be a share in \[0, 1\]"):
        _wrapper(copies=share)


def test_copies_are_for_classification_only() -> None:
    with pytest.raises(ValueError, match=r"`copies` \(=0.5\) moves objects, .* `task` \(='segmentation'\)"):
        _wrapper(task="segmentation", copies=0.5)

"""Objects before other backgrounds."""

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

from advbg.compositing import CompositeParameters, composite, cut_out, draw_parameters, widen
from advbg.options import Options
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, adversarial_wrapper


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    channels=st.sampled_from([1, 3, 5]),
    mean=st.floats(0, 1),
    std=st.floats(0.1, 1),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_the_composite_is_the_papers_equation_in_normalised_space(
    seed: int, channels: int, mean: float, std: float, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    pixels, backgrounds = (torch.rand(4, channels, 6, 7, generator=generator) for _ in range(2))
    mask = torch.rand(4, 1, 6, 7, generator=generator)
    composited = torch.tensor([True, False, True, False])
    images = ((pixels - mean) / std).to(dtype)
    made = composite(images, mask, backgrounds, composited, PixelSpace((mean,), (std,)))
    exact = images.double() * mask.double() + (backgrounds.double() - mean) / std * (1 - mask.double())
    # Two products of values up to 1 / std are added.
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-5) / std
    assert made.dtype == dtype
    torch.testing.assert_close(made[composited].double(), exact[composited], rtol=0, atol=tolerance)
    assert torch.equal(made[~composited], images[~composited])


def test_an_image_whose_object_was_not_found_stays_as_it_is() -> None:
    images = torch.rand(2, 3, 5, 5)
    mask = torch.zeros(2, 1, 5, 5)
    mask[1, 0, 2, 2] = 1
    made = composite(images, mask, torch.rand(2, 3, 5, 5), torch.tensor([True, True]), PixelSpace())
    assert torch.equal(made[0], images[0])
    assert not torch.equal(made[1], images[1])


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.integers(3, 15))
def test_each_mask_is_dilated_by_its_own_halo(seed: int, size: int) -> None:
    mask = (torch.rand(4, 1, size, size, generator=torch.Generator().manual_seed(seed)) > 0.8).float()
    widened = widen(mask, torch.tensor([0, 1, 2, 3]), largest=3)
    for halo, (before, after) in enumerate(zip(mask, widened, strict=True)):
        square = np.ones((2 * halo + 1,) * 2)
        np.testing.assert_array_equal(after[0].numpy() > 0, binary_dilation(before[0].numpy() > 0, square))


def _drawn(size: int, **options: float) -> CompositeParameters:
    backgrounds = torch.rand(200, 3, size, size, generator=torch.Generator().manual_seed(0))
    return draw_parameters(backgrounds, Options(**options), 4, torch.Generator().manual_seed(1))


def _disc() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(64) - 31.5, indexing="ij")
    return (rows.square() + columns.square() < 200).float().expand(200, 1, 64, 64)


def test_half_of_the_masks_that_are_enlarged_have_hard_edges_and_the_others_soft_ones() -> None:
    params = _drawn(128)
    masks = cut_out(params, _disc(), torch.Size((128, 128)), 4)
    soft = ((masks > 0) & (masks < 1)).flatten(1).any(dim=1)
    assert torch.equal(soft, ~params.hard)
    assert 0.4 < soft.float().mean() < 0.6


def test_hard_edges_lie_where_the_soft_ones_are_half_foreground() -> None:
    params = _drawn(128)
    hard, soft = (
        cut_out(replace(params, hard=torch.full((200,), chosen)), _disc(), torch.Size((128, 128)), 4)
        for chosen in (True, False)
    )
    assert torch.equal(hard, (soft > 0.5).float())


@pytest.mark.parametrize(("size", "options"), [(64, {}), (128, {"halo": 0.0})])
def test_masks_that_are_not_enlarged_or_have_no_halo_keep_their_edges(size: int, options: dict[str, float]) -> None:
    params = _drawn(size, **options)
    assert params.hard is None
    untouched = replace(params, halo=torch.zeros_like(params.halo))
    expected = F.interpolate(_disc(), size=(size, size), mode="bilinear")
    assert torch.equal(cut_out(untouched, _disc(), torch.Size((size, size)), 4), expected)


def test_a_given_mask_keeps_its_own_edges_where_it_is_not_widened_and_is_widened_by_its_halo_elsewhere() -> None:
    # A line of two pixels, which is half a pixel of the small masks.
    params, line = _drawn(256), torch.zeros(200, 1, 256, 256)
    line[..., 126:128] = 1
    masks = cut_out(params, line, torch.Size((256, 256)), 4)
    assert torch.equal(masks[params.halo == 0], line[params.halo == 0])
    widths = masks[:, 0, 128].sum(dim=1)
    for chosen in (params.hard, ~params.hard):
        for halo in (1, 2, 3, 4):
            # Each halo is four pixels of the image, on both sides; what a pixel of the small mask holds is one of it.
            assert (widths[chosen & (params.halo == halo)] >= 4 * (2 * halo + 1) / 2).all()
    hard_widths = widths[params.hard & (params.halo > 0)]
    assert torch.equal(hard_widths, 4.0 * (2 * params.halo + 1)[params.hard & (params.halo > 0)])


def test_masks_that_are_no_ones_and_zeros_stay_as_soft_as_they_are() -> None:
    params = _drawn(128)
    soft = replace(params, hard=torch.zeros_like(params.hard))
    for faint in (0.45 * _disc(), 0.6 * torch.ones(200, 1, 128, 128)):
        masks = cut_out(params, faint, torch.Size((128, 128)), 4)
        assert torch.equal(masks, cut_out(soft, faint, torch.Size((128, 128)), 4))
        assert masks.max() == faint.max()


def test_parameters_are_taken_by_slice_list_and_tensor() -> None:
    hard = torch.arange(5) > 3
    params = CompositeParameters(torch.rand(5, 1, 2, 2), torch.arange(5) > 2, torch.arange(5), hard=hard)
    for indices in (slice(1, 3), [4, 0], torch.tensor([2])):
        part = params[indices]
        assert torch.equal(part.backgrounds, params.backgrounds[indices])
        assert torch.equal(part.halo, params.halo[indices])
        assert part.hard is not None
        assert torch.equal(part.hard, hard[indices])
        assert part.placement is None


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (4, 3, 32, 32), (8, 3, 24, 32)])
def test_draws_of_another_batch_are_refused(shape: tuple[int, ...]) -> None:
    images, _ = a_batch()
    wrapper = adversarial_wrapper().eval()
    params = wrapper.generate_parameters(images)
    assert wrapper(images, params=params).shape == (8, 4)
    with pytest.raises(ValueError, match=r"`params` were drawn for images of shape \(8, 3, 32, 32\), but `im"):
        wrapper(torch.rand(shape), params=params)


@pytest.mark.parametrize("index", [0, np.int64(2)])
def test_the_draw_of_one_image_is_refused(index: object) -> None:
    take = inspect.unwrap(CompositeParameters.__getitem__)
    with pytest.raises(TypeError, match=r"draws are of batches: for one image, index with \["):
        take(_drawn(8), index)

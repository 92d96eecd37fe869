"""Hard masks from soft ones."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.filters import threshold_otsu

from advbg.masks import binarize


def _variance_between(values: np.ndarray, foreground: np.ndarray) -> float:
    """What Otsu's threshold maximises, in float64."""
    share, values = foreground.mean(), values.astype(np.float64)
    return share * (1 - share) * (values[foreground].mean() - values[~foreground].mean()) ** 2


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(8, 40), width=st.integers(8, 40))
def test_otsu_parts_values_as_well_as_scikit_image_does(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    objects = torch.rand(3, 1, height, width, generator=generator) > 0.7
    noise = 0.1 * torch.randn(3, 1, height, width, generator=generator)
    mask = (objects * 0.6 + 0.2 + noise).clamp(0, 1)
    for soft, hard in zip(mask.numpy(), binarize(mask, "otsu").bool().numpy(), strict=True):
        # The two histograms put a value at the edge of a bin into one or the other.
        assert _variance_between(soft, hard) >= 0.999 * _variance_between(soft, soft > threshold_otsu(soft))


@pytest.mark.parametrize(("value", "kept"), [(0.2, 0.0), (0.8, 1.0)])
def test_a_flat_mask_is_compared_with_one_half(value: float, kept: float) -> None:
    assert (binarize(torch.full((2, 1, 6, 6), value), "otsu") == kept).all()


def test_one_half_belongs_to_the_foreground() -> None:
    mask = torch.tensor([0.0, 0.49, 0.5, 1.0]).view(1, 1, 2, 2)
    assert binarize(mask, "0.5").flatten().tolist() == [0, 0, 1, 1]


@settings(max_examples=20, deadline=None)
@given(area=st.floats(0.05, 0.95), seed=st.integers(0, 2**31))
def test_the_quantile_keeps_its_share_of_every_mask(area: float, seed: int) -> None:
    mask = torch.rand(2, 1, 20, 20, generator=torch.Generator().manual_seed(seed))
    kept = binarize(mask, "quantile", area=area).mean(dim=(1, 2, 3))
    exact = np.stack([one >= np.quantile(one, 1 - area) for one in mask.double().numpy()]).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(kept, exact, atol=1.5 / 400)


def test_none_keeps_the_mask_soft() -> None:
    mask = torch.rand(2, 1, 5, 5)
    assert binarize(mask, "none") is mask


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", ["otsu", "0.5", "quantile"])
def test_a_hard_mask_has_zeros_and_ones_of_the_same_dtype(dtype: torch.dtype, method: str) -> None:
    hard = binarize(torch.rand(2, 1, 9, 9).to(dtype), method)
    assert hard.dtype == dtype
    assert set(hard.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("area", [0.0, 1.0, -1.0])
def test_an_area_that_is_no_share_is_refused(area: float) -> None:
    with pytest.raises(ValueError, match=rf"`area` \(={area}\)"):
        binarize(torch.rand(1, 1, 4, 4), "quantile", area=area)


@pytest.mark.parametrize("share", [1 / 16, 0.25, 0.5])
def test_most_of_a_mask_that_has_its_lowest_value_is_no_foreground_by_quantile(share: float) -> None:
    mask = torch.zeros(1, 1, 32, 32)
    mask.flatten()[: int(share * 1024)] = 0.9
    assert torch.equal(binarize(mask, "quantile"), (mask > 0).float())


def test_a_flat_mask_is_all_foreground_by_quantile() -> None:
    assert binarize(torch.full((2, 1, 8, 8), 0.3), "quantile").all()


def test_by_default_the_quantile_keeps_a_fifth() -> None:
    mask = torch.linspace(0, 1, 100).view(1, 1, 10, 10)
    assert binarize(mask, "quantile").sum() == 20

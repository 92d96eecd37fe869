"""Bilinear sampling of images that go on mirrored."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbg.backgrounds.sampling import sample_mirrored


def _read(images: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The values, and the gradient of a sum that weights each of them otherwise."""
    images = images.clone().requires_grad_()
    shown = sample_mirrored(images, places)
    weights = torch.rand(shown.shape, generator=torch.Generator().manual_seed(1), dtype=shown.dtype)
    return shown, torch.autograd.grad((shown * weights).sum(), images)[0]


@settings(max_examples=50, deadline=None)
@given(
    count=st.integers(1, 3),
    channels=st.integers(1, 4),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    reach=st.floats(0.1, 5),
    seed=st.integers(0, 2**31),
)
def test_the_deterministic_form_has_the_values_and_gradients_of_grid_sample(
    count: int, channels: int, rows: int, columns: int, height: int, width: int, reach: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn((count, channels, rows, columns), generator=generator, dtype=torch.float64)
    places = reach * (2 * torch.rand((count, height, width, 2), generator=generator, dtype=torch.float64) - 1)
    expected, expected_gradient = _read(images, places)
    torch.use_deterministic_algorithms(True)
    try:
        shown, gradient = _read(images, places)
    finally:
        torch.use_deterministic_algorithms(False)
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(gradient, expected_gradient, rtol=0, atol=1e-10)


@pytest.mark.usefixtures("deterministic")
def test_without_a_gradient_the_deterministic_form_is_grid_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(F, "grid_sample", lambda images, places, **_: called.append(images) or images)
    sample_mirrored(torch.rand(1, 3, 4, 4), torch.zeros(1, 4, 4, 2))
    assert len(called) == 1
    sample_mirrored(torch.rand(1, 3, 4, 4, requires_grad=True), torch.zeros(1, 4, 4, 2))
    assert len(called) == 1


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_images_of_half_precision_are_read_in_float32(dtype: torch.dtype) -> None:
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    places = 2 * torch.rand(2, 5, 5, 2, generator=torch.Generator().manual_seed(1)) - 1
    shown = sample_mirrored(images.requires_grad_(), places)
    expected = F.grid_sample(images.detach().float(), places, padding_mode="reflection", align_corners=False)
    torch.testing.assert_close(shown, expected, rtol=0, atol=1e-5)

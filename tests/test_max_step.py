"""The reversal of the backgrounds' gradient against a reference in float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbg.max_step import FILL_LIMIT, reverse_gradient

_DTYPES = st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64])


def _backward(backgrounds: Tensor, gradient: Tensor) -> Tensor:
    leaf = backgrounds.clone().requires_grad_()
    reverse_gradient(leaf).backward(gradient)
    assert leaf.grad is not None
    return leaf.grad


def _reference(backgrounds: Tensor, gradient: Tensor) -> np.ndarray:
    """The same in float64 and numpy, image by image."""
    exact = gradient.double().numpy()
    made = np.stack([-image / np.sqrt((image**2).sum()) if image.any() else image for image in exact])
    monochrome = backgrounds.shape[1] == 1
    if monochrome and backgrounds.double().mean() > FILL_LIMIT:
        made = made + 1 / np.sqrt(made[0].size)
    return made


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 5),
    channels=st.sampled_from([1, 2, 3]),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    bright=st.booleans(),
    dtype=_DTYPES,
    seed=st.integers(0, 2**31),
)
def test_the_gradient_is_that_of_the_reference_for_any_shape_and_dtype(
    count: int, channels: int, height: int, width: int, bright: bool, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (count, channels, height, width)
    backgrounds = (0.4 * torch.rand(shape, generator=generator) + (0.6 if bright else 0.0)).to(dtype)
    gradient = torch.randn(shape, generator=generator).to(dtype)
    made = _backward(backgrounds, gradient)
    assert made.dtype == dtype
    tolerance = {torch.float16: 2e-3, torch.bfloat16: 2e-2}.get(dtype, 1e-5)
    np.testing.assert_allclose(made.double().numpy(), _reference(backgrounds, gradient), atol=tolerance, rtol=tolerance)


@settings(max_examples=20, deadline=None)
@given(scale=st.integers(-100, 100), channels=st.sampled_from([1, 3]), seed=st.integers(0, 2**31))
def test_no_scale_of_the_loss_changes_the_gradient_nor_its_fill_term(scale: int, channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    backgrounds = 0.5 + 0.5 * torch.rand(2, channels, 4, 5, generator=generator)
    gradient = torch.randn(2, channels, 4, 5, generator=generator)
    plain = _backward(backgrounds, gradient)
    scaled = _backward(backgrounds, gradient * 2.0**scale)
    torch.testing.assert_close(scaled, plain, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_values_pass_through_unchanged_in_dtype_and_layout(
    dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    backgrounds = torch.rand(2, 3, 4, 5).to(dtype).contiguous(memory_format=memory_format)
    passed = reverse_gradient(backgrounds.requires_grad_())
    assert passed.dtype == dtype
    assert torch.equal(passed, backgrounds)
    assert passed.is_contiguous(memory_format=memory_format)


def test_a_half_precision_gradient_whose_squares_overflow_keeps_its_direction() -> None:
    gradient = torch.full((1, 3, 4, 4), 60000.0, dtype=torch.float16)
    made = _backward(torch.rand(1, 3, 4, 4).half(), gradient)
    torch.testing.assert_close(made.float(), torch.full((1, 3, 4, 4), -(48**-0.5)), rtol=1e-3, atol=0)


def test_an_image_without_a_usable_gradient_is_still_pushed_down_where_the_batch_is_too_bright() -> None:
    gradient = torch.zeros(2, 1, 4, 4)
    gradient[1] = float("nan")
    made = _backward(torch.full((2, 1, 4, 4), 0.9), gradient)
    torch.testing.assert_close(made, torch.full((2, 1, 4, 4), 0.25))


def test_a_step_down_the_gradient_climbs_a_loss_of_the_backgrounds() -> None:
    target = torch.rand(3, 3, 6, 6)
    leaf = torch.rand(3, 3, 6, 6).requires_grad_()

    def losses(backgrounds: Tensor) -> Tensor:
        return ((backgrounds - target) ** 2).flatten(1).sum(1)

    losses(reverse_gradient(leaf)).sum().backward()
    assert (losses(leaf - 0.1 * leaf.grad) > losses(leaf)).all()

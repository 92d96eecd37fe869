"""Objects at other places and in other light."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import affine_transform
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.appearance import draw_lighting, draw_placement, move_objects, relight
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, run_without_type_checks

_DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), placement=st.floats(0.01, 0.99))
def test_about_half_of_the_composites_are_shrunk_and_their_frames_stay_in_the_image(
    seed: int, placement: float
) -> None:
    composited = torch.rand(400, generator=_generator(seed)) < 0.7
    scale, shift = draw_placement(composited, placement, _generator(seed)).split([1, 2], dim=1)
    assert (scale[~composited] == 1).all()
    assert 0.35 < (scale[composited] < 1).float().mean() < 0.65
    assert 1 - placement - 1e-6 <= scale.min() < 1 - 0.8 * placement
    assert (shift.abs() <= 1 - scale + 1e-6).all()
    for way in shift[(scale < 1)[:, 0]].T:
        assert way.min() < 0 < way.max()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(4, 20), width=st.integers(4, 20), channels=st.integers(1, 4))
def test_objects_are_placed_as_an_affine_transform_in_float64_places_them(
    seed: int, height: int, width: int, channels: int
) -> None:
    images = torch.rand(3, channels, height, width, generator=_generator(seed))
    mask = torch.rand(3, 1, height, width, generator=_generator(seed + 1))
    placement = draw_placement(torch.ones(3, dtype=torch.bool), 0.6, _generator(seed))
    for made, tensor, mode in zip(
        move_objects(images, mask, placement), (images, mask), ("nearest", "grid-constant"), strict=True
    ):
        for index, (scale, right, down) in enumerate(placement.double().tolist()):
            # Where a pixel comes from: from its index to [-1, 1], back by shift and scale, and to an index again.
            offsets = [
                ((1 / side - 1 - shift) / scale + 1) * side / 2 - 0.5
                for side, shift in ((height, down), (width, right))
            ]
            for ours, plane in zip(made[index], tensor[index].double().numpy(), strict=True):
                expected = affine_transform(plane, np.array([1 / scale] * 2), offsets, order=1, mode=mode)
                np.testing.assert_allclose(ours.numpy(), expected, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), dtype=st.sampled_from(_DTYPES), lying=st.booleans())
def test_what_does_not_move_keeps_its_values_and_all_keep_dtype_and_layout(
    seed: int, dtype: torch.dtype, lying: bool
) -> None:
    layout = torch.channels_last if lying else torch.contiguous_format
    images = torch.rand(3, 3, 8, 6, generator=_generator(seed)).to(dtype).contiguous(memory_format=layout)
    mask = torch.ones(3, 1, 8, 6)
    mask[1] = 0
    placement = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.2, 0.1], [0.5, -0.3, 0.5]])
    placed, where = move_objects(images, mask, placement)
    assert placed.dtype == dtype
    assert placed.stride() == images.stride()
    assert torch.equal(placed[:2], images[:2])
    assert torch.equal(where[:2], mask[:2])
    assert where[2].mean() == pytest.approx(0.25, abs=0.01)
    lit = relight(images, torch.tensor([[1.0] * 5, [1.0] * 5, [1.3, 0.9, 0.8, 0.9, 1.1]]), PixelSpace())
    assert lit.dtype == dtype
    assert lit.stride() == images.stride()
    assert torch.equal(lit[:2], images[:2])
    assert not torch.equal(lit[2], images[2])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), lighting=st.floats(0.05, 1.0), channels=st.integers(1, 4))
def test_light_changes_by_factors_of_up_to_e_to_its_power_in_about_half_of_the_composites(
    seed: int, lighting: float, channels: int
) -> None:
    composited = torch.rand(400, generator=_generator(seed)) < 0.7
    drawn = draw_lighting(composited, channels, lighting, _generator(seed))
    lit = (drawn != 1).any(dim=1)
    assert drawn.shape == (400, 2 + channels)
    assert not lit[~composited].any()
    assert 0.35 < lit[composited].float().mean() < 0.65
    exponents = drawn[lit].log() / lighting
    assert 0.9 < exponents[:, :2].abs().max() <= 1.0001
    assert exponents[:, 2:].abs().max() <= 1.2501
    # Channels differ less than images do.
    assert (exponents[:, 2:] - exponents[:, 2:3]).abs().max() <= 0.5001


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), mean=st.floats(0, 1), std=st.floats(0.1, 1))
def test_the_light_is_that_of_gamma_brightness_and_contrast_in_float64(seed: int, mean: float, std: float) -> None:
    pixels = torch.rand(4, 3, 5, 6, generator=_generator(seed))
    drawn = draw_lighting(torch.ones(4, dtype=torch.bool), 3, 0.5, _generator(seed))
    made = relight((pixels - mean) / std, drawn, PixelSpace((mean,), (std,))) * std + mean
    for image, ours, values in zip(pixels.double().numpy(), made, drawn.double().numpy(), strict=True):
        gamma, contrast, brightness = values[0], values[1], values[2:, None, None]
        exposed = np.maximum(image, 1 / 255) ** gamma * brightness
        expected = np.clip(exposed.mean() + contrast * (exposed - exposed.mean()), 0, 1)
        np.testing.assert_allclose(ours.numpy(), expected if (values != 1).any() else image, atol=2e-5)


def _wrapper(**options: object) -> AdversarialBackground:
    wrapper = AdversarialBackground(
        nn.Identity(), schedule=Schedule(0, 0), mask_generator="nonzero", clean_share=0.25, halo=0.0, **options
    )
    return wrapper.train()


def _objects(count: int = 64) -> Tensor:
    images = torch.zeros(count, 3, 16, 16)
    images[:, :, 4:12, 4:12] = 0.8
    return images


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_composites_show_objects_elsewhere_and_clean_images_stay_as_they_are() -> None:
    wrapper, images = _wrapper(placement=0.5, background="black"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    assert params.placement is not None
    assert torch.equal(composites[~params.composited], images[~params.composited])
    moved = params.placement[:, 0] < 1
    assert moved.any()
    places = torch.arange(16) - 7.5
    for composite, (scale, right, down) in zip(composites[moved], params.placement[moved].tolist(), strict=True):
        brightness = composite.mean(dim=0) / 0.8
        assert brightness.sum().item() == pytest.approx((8 * scale) ** 2, rel=0.2)
        centre = [(brightness.sum(dim=way) * places).sum() / brightness.sum() for way in (0, 1)]
        assert centre == pytest.approx([8 * right, 8 * down], abs=0.3)


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_replayed_parts_of_a_batch_have_the_same_places_and_light() -> None:
    wrapper, images = _wrapper(placement=0.5, lighting=0.5, background="random"), _objects()
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    torch.testing.assert_close(wrapper(images[7:20], params=params[7:20]), composites[7:20])
    assert params.lighting is not None
    assert (params.lighting[7:20] != 1).any()


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_autocast_moves_nothing() -> None:
    wrapper, images = _wrapper(placement=0.5, lighting=0.5, background="random"), a_batch(32, 3, (64, 64))[0]
    params = wrapper.generate_parameters(images)
    composites = wrapper(images, params=params)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(wrapper(images, params=params), composites)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_an_object_that_would_vanish_keeps_its_image(seed: int) -> None:
    images, mask = torch.rand(20, 1, 16, 16, generator=_generator(seed)), torch.zeros(20, 1, 16, 16)
    mask[:, :, 9, 4] = 1
    placed, where = move_objects(images, mask, draw_placement(torch.ones(20, dtype=torch.bool), 0.9, _generator(seed)))
    assert where.flatten(1).any(dim=1).all()
    still = (where == mask).flatten(1).all(dim=1)
    assert torch.equal(placed[still], images[still])


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_light_and_place_of_an_image_without_an_object_stay() -> None:
    wrapper = _wrapper(placement=0.5, lighting=0.5, background="random")
    images = torch.zeros(32, 3, 8, 8)
    images[0] = 0.5
    assert torch.equal(wrapper(images)[1:], images[1:])


@pytest.mark.filterwarnings("ignore:the model trains against backgrounds")
def test_the_max_step_climbs_through_another_light() -> None:
    wrapper, images = _wrapper(placement=0.5, lighting=0.5), _objects()
    params = wrapper.companions.draw(images)
    assert params.lighting is not None
    lit = (params.lighting != 1).any(dim=1)
    wrapper(images, params=params)[lit].square().sum().backward()
    gradients = [weight.grad for weight in wrapper.companions.source.parameters() if weight.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients)


def test_nothing_is_drawn_for_what_is_off() -> None:
    images = _objects(8)
    plain, placed = _wrapper(), _wrapper(placement=0.5)
    params = plain.generate_parameters(images)
    assert params.placement is None
    assert params.lighting is None
    assert torch.equal(params.halo, placed.generate_parameters(images).halo)
    assert not torch.equal(plain.companions.generator.get_state(), placed.companions.generator.get_state())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"placement": 1.0}, r"`placement` \(=1.0\) must be a share in \[0, 1\)"),
        ({"placement": float("nan")}, r"`placement` \(=nan\)"),
        ({"lighting": -0.1}, r"`lighting` \(=-0.1\) must be in \[0, 2\]"),
        ({"lighting": 40.0}, r"`lighting` \(=40.0\)"),
        ({"lighting": float("inf")}, r"`lighting` \(=inf\)"),
        (
            {"placement": 0.5, "task": "segmentation"},
            r"`placement` \(=0.5\) moves objects, .* `task` \(='segmentation'\)",
        ),
    ],
)
def test_appearances_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialBackground(nn.Identity(), **options)  # pyright: ignore[reportArgumentType]


def test_composites_at_other_places_and_in_other_light_compile_without_a_break() -> None:
    run_without_type_checks(
        """
        import torch
        from advbg import AdversarialBackground, Schedule
        from advbg.compositing import composite_with
        from advbg.pixel_space import PixelSpace

        wrapper = AdversarialBackground(
            torch.nn.Identity(), schedule=Schedule(0, 0), mask_generator="nonzero", placement=0.5, lighting=0.5
        )
        images, mask = torch.rand(16, 3, 16, 16), torch.zeros(16, 1, 16, 16)
        mask[:, :, 4:12, 4:12] = 1
        inputs = wrapper.generate_parameters(images), images, mask, PixelSpace()
        compiled = torch.compile(composite_with, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*inputs), composite_with(*inputs))
        """
    )


def test_no_light_makes_anything_of_what_is_brighter_than_white() -> None:
    over, dimmed = torch.full((1, 3, 4, 4), 1.04), torch.tensor([[1.0, 1.0, 0.5, 0.5, 0.5]])
    torch.testing.assert_close(relight(over, dimmed, PixelSpace()), torch.full((1, 3, 4, 4), 0.5))

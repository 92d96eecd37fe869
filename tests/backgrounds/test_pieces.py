"""Pieces of images as backgrounds."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from advbg.backgrounds.pieces import fill, show_pieces
from advbg.backgrounds.population import GeneratorPopulation
from advbg.backgrounds.scenes import Scenes


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shown(side: float, centre: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(12, 3, 32, 32, generator=_seeded(seed))
    pieces = show_pieces(images, torch.full((12, 2), centre), torch.full((12,), side), (32, 32), _seeded())
    return images, pieces


def test_a_piece_as_large_as_the_image_is_the_image_or_its_mirror_image() -> None:
    images, pieces = _shown(1.0)
    as_it_is, mirrored = (
        (pieces - expected).abs().amax(dim=(1, 2, 3)) < 1e-5 for expected in (images, images.flip(-1))
    )
    assert (as_it_is ^ mirrored).all()
    assert 0 < as_it_is.sum() < 12


def test_a_piece_of_half_the_side_is_the_enlarged_middle() -> None:
    images, pieces = _shown(0.5)
    middle = F.interpolate(images, scale_factor=2, mode="bilinear")[..., 16:48, 16:48]
    for piece, expected in zip(pieces, middle, strict=True):
        assert min((piece - shown).abs().max() for shown in (expected, expected.flip(-1))) < 1e-5


def test_about_a_piece_larger_than_the_image_lie_mirrored_copies() -> None:
    _, pieces = _shown(2.0)
    # The image's own border lies at a quarter and at three quarters of the piece.
    torch.testing.assert_close(pieces[..., 24:], pieces[..., 16:24].flip(-1), rtol=0, atol=1e-5)
    torch.testing.assert_close(pieces[..., :8, :], pieces[..., 8:16, :].flip(-2), rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 4]),
    rows=st.integers(2, 20),
    columns=st.integers(2, 20),
    times=st.floats(1, 8),
    seed=st.integers(0, 2**31),
)
def test_filled_backgrounds_have_the_size_asked_for_and_stay_pixels(
    count: int, channels: int, rows: int, columns: int, times: float, seed: int
) -> None:
    small = torch.rand(count, channels, rows, columns, generator=_seeded(seed))
    size = round(rows * times), round(columns * times)
    filled = fill(small, size, _seeded(seed))
    assert filled.shape == (count, channels, *size)
    assert filled.isfinite().all()
    assert small.min() - 1e-5 <= filled.min() <= filled.max() <= small.max() + 1e-5
    assert torch.equal(filled, fill(small, size, _seeded(seed)))


@pytest.mark.parametrize(("rows", "height"), [(64, 256), (32, 128)])
def test_filled_backgrounds_are_from_pixel_for_pixel_to_enlarged_to_the_whole(rows: int, height: int) -> None:
    small = torch.rand(300, 1, rows, 64, generator=_seeded())
    steps = (fill(small, (height, 256), _seeded()).diff(dim=-1)).abs().mean(dim=(1, 2, 3))
    own = small.diff(dim=-1).abs().mean()
    whole = F.interpolate(small, size=(height, 256), mode="bilinear").diff(dim=-1).abs().mean()
    # Between pixels, bilinear sampling softens white noise: by 4 / 9 at most.
    assert 0.5 * own < steps.max() < 1.1 * own
    assert 0.8 * whole < steps.min() < 1.2 * whole
    assert 0.15 < (steps < (own * whole).sqrt()).float().mean() < 0.85


@pytest.mark.parametrize(("source", "least_of_the_sharp"), [(GeneratorPopulation(3, _seeded()), 0.4), (Scenes(), 0.3)])
def test_sources_show_what_they_make_small_at_different_sharpness(
    source: GeneratorPopulation | Scenes, least_of_the_sharp: float
) -> None:
    backgrounds = source.sample(200, (3, 256, 256), _seeded()).detach()
    # Were all enlarged to the whole, the sharpest tenth would have a quarter or a sixth of their contrast in what is
    # finer than four pixels.
    coarse = F.interpolate(F.avg_pool2d(backgrounds, 4), scale_factor=4, mode="bilinear")
    fine = (backgrounds - coarse).flatten(1).std(dim=1) / backgrounds.flatten(1).std(dim=1).clamp_min(1e-3)
    low, high = fine.quantile(torch.tensor([0.1, 0.9])).tolist()
    assert high > 4 * low
    assert high > least_of_the_sharp


def test_backgrounds_are_filled_with_their_gradient() -> None:
    small = torch.rand(4, 3, 8, 8, generator=_seeded()).requires_grad_()
    fill(small, (16, 16), _seeded()).sum().backward()
    assert small.grad is not None
    assert (small.grad.flatten(1).abs().sum(dim=1) > 0).all()


def test_no_filled_background_is_reduced_whatever_its_proportions() -> None:
    ramps = torch.linspace(0, 1, 64).expand(50, 1, 16, 64)
    assert fill(ramps, (32, 128), _seeded()).diff(dim=3).abs().max() < 1.01 / 63


def test_backgrounds_are_filled_with_pieces_from_all_over() -> None:
    ramps = torch.linspace(0, 1, 64).expand(200, 1, 64, 64)
    for images in (ramps, ramps.mT):
        assert fill(images, (128, 128), _seeded()).mean().item() == pytest.approx(0.5, abs=0.05)

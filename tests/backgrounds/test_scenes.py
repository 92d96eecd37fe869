"""Made-up scenes for images in colour."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from advbg.backgrounds.scenes import Scenes, _dead_leaves


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 9), channels=st.sampled_from([1, 3, 4]), height=st.integers(3, 80), width=st.integers(3, 80)
)
def test_scenes_have_the_shape_asked_for_lie_in_the_unit_interval_and_repeat(
    count: int, channels: int, height: int, width: int
) -> None:
    shape = (channels, height, width)
    scenes = Scenes().sample(count, shape, _seeded())
    assert scenes.shape == (count, *shape)
    assert scenes.dtype == torch.float32
    assert scenes.isfinite().all()
    assert 0 <= scenes.min() <= scenes.max() <= 1
    assert torch.equal(scenes, Scenes().sample(count, shape, _seeded()))


def _spectral_slope(images: torch.Tensor) -> float:
    """Minus the exponent of the amplitude against the frequency, by least squares in float64."""
    grey = images.double().mean(dim=1)
    amplitude = torch.fft.rfft2(grey - grey.mean(dim=(1, 2), keepdim=True)).abs().square().mean(dim=0).sqrt()
    frequency = torch.hypot(torch.fft.fftfreq(64)[:, None], torch.fft.rfftfreq(64)).double()
    kept = (frequency > 2 / 64) & (frequency < 0.4)
    design = torch.stack([frequency[kept].log(), torch.ones(int(kept.sum()), dtype=torch.float64)], dim=1)
    return -torch.linalg.lstsq(design, amplitude[kept].log()[:, None]).solution[0].item()


def test_amplitudes_fall_with_the_frequency_as_those_of_photographs_do() -> None:
    # Photographs: about 1 on average (Ruderman and Bialek 1994); white noise: 0.
    assert 0.7 < _spectral_slope(Scenes().sample(200, (3, 64, 64), _seeded())) < 1.6
    assert abs(_spectral_slope(torch.rand(200, 3, 64, 64, generator=_seeded()))) < 0.1


def test_brightness_varies_more_than_colour() -> None:
    scenes = Scenes().sample(300, (3, 32, 32), _seeded())
    brightness = scenes.mean(dim=1, keepdim=True)
    assert brightness.var() > 1.5 * (scenes - brightness).square().mean()


def test_scenes_differ_in_brightness_contrast_and_sharpness() -> None:
    scenes = Scenes().sample(300, (3, 64, 64), _seeded())
    means, contrasts = scenes.mean(dim=(1, 2, 3)), scenes.std(dim=(1, 2, 3))
    steps = (scenes[..., 1:] - scenes[..., :-1]).abs().mean(dim=(1, 2, 3)) / contrasts
    for values in (means, contrasts, steps):
        low, high = values.quantile(torch.tensor([0.05, 0.95])).tolist()
        assert high > 3 * low


@pytest.mark.parametrize("part", ["_dead_leaves", "kornia.filters.gaussian_blur2d"])
def test_scenes_that_come_one_by_one_are_half_of_each_kind(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = []

    def spy(scenes: Tensor, *_: Any) -> Tensor:
        changed.append(len(scenes))
        return scenes

    monkeypatch.setattr(f"advbg.backgrounds.scenes.{part}", spy)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        Scenes().sample(1, (3, 8, 8), generator)
    assert 80 < sum(changed) < 120
    changed.clear()
    for _ in range(50):
        Scenes().sample(4, (3, 8, 8), generator)
    assert changed == [2] * 50


def test_places_in_the_batch_do_not_tell_the_kind_of_scene() -> None:
    sharpness = []
    for seed in range(300):
        scenes = Scenes().sample(8, (3, 24, 24), _seeded(seed))
        steps = (scenes[..., 1:] - scenes[..., :-1]).abs().mean(dim=(1, 2, 3))
        sharpness.append((steps / scenes.std(dim=(1, 2, 3))).log())
    mean = torch.stack(sharpness).mean(dim=0)
    assert mean.max() - mean.min() < 0.3


def test_scenes_differ_in_contrast_by_an_order_of_magnitude() -> None:
    # Within each channel, where no difference in colour counts.
    contrasts = Scenes().sample(400, (3, 32, 32), _seeded()).std(dim=(2, 3)).mean(dim=1)
    low, high = contrasts.quantile(torch.tensor([0.05, 0.95])).tolist()
    assert high > 7 * low


def test_leaves_have_textures() -> None:
    leaves = _dead_leaves(torch.rand(4, 3, 32, 32, generator=_seeded()), _seeded())
    assert (leaves.diff(dim=3) == 0).float().mean() < 0.1


def test_of_clouds_and_of_leaves_alike_half_are_out_of_focus(monkeypatch: pytest.MonkeyPatch) -> None:
    blurred = []
    monkeypatch.setattr("advbg.backgrounds.scenes._dead_leaves", lambda textures, _: torch.full_like(textures, 1000.0))
    monkeypatch.setattr("kornia.filters.gaussian_blur2d", lambda scenes, *_: blurred.append(scenes) or scenes)
    Scenes().sample(16, (3, 8, 8), _seeded())
    leafy = (blurred[0] == 1).flatten(1).all(dim=1)
    assert leafy.tolist().count(True) == leafy.tolist().count(False) == 4

"""Where the pipelines' backgrounds come from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from advbg.backgrounds import Black, Noise, Photographs, Scenes
from advbg.backgrounds.patterns import PATTERNS
from advbg.backgrounds.random_generators import RandomGenerators
from advbg.integrations.replacement import as_source, check_pixels, draw_backgrounds


def test_names_folders_and_sources_are_found(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "photograph.png")
    assert isinstance(as_source("random"), RandomGenerators)
    assert isinstance(as_source("scenes"), Scenes)
    assert isinstance(as_source("noise"), Noise)
    assert isinstance(as_source("black"), Black)
    assert isinstance(as_source(tmp_path), Photographs)
    own = Noise()
    assert as_source(own) is own


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_the_papers_at_its_size_and_enlarged_without_smoothing_elsewhere(name: str) -> None:
    drawn = draw_backgrounds(as_source(f"patterns:{name}"), 2, (3, 32, 32), seed=0)
    assert torch.equal(drawn, PATTERNS[name](32).expand(2, 3, 32, 32))
    enlarged = draw_backgrounds(as_source(f"patterns:{name}"), 1, (1, 96, 64), seed=0)
    assert torch.equal(enlarged[0, 0], PATTERNS[name](32).repeat_interleave(3, 0).repeat_interleave(2, 1))


def test_all_six_patterns_are_drawn() -> None:
    drawn = draw_backgrounds(as_source("patterns"), 100, (1, 32, 32), seed=0)
    assert len({pattern.numpy().tobytes() for pattern in drawn}) == 6


def test_a_picture_is_resized_to_the_images_and_a_grey_one_serves_colours() -> None:
    ramp = np.linspace(0, 255, 8).astype(np.uint8)[:, None].repeat(8, 1)
    drawn = draw_backgrounds(as_source(ramp), 2, (3, 16, 4), seed=0)
    assert drawn.shape == (2, 3, 16, 4)
    assert (drawn.diff(dim=2) >= 0).all()
    assert torch.equal(drawn[0, 0], drawn[1, 2])
    colour = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="has 3 channels, but the images have 1"):
        draw_backgrounds(as_source(colour), 1, (1, 4, 4), seed=0)


@pytest.mark.parametrize(
    ("background", "error", "message"),
    [
        (
            "sky",
            FileNotFoundError,
            r"\(='sky'\) is no folder .* none of random, scenes, noise, black, patterns",
        ),
        (
            "adversarial",
            ValueError,
            "'adversarial'. learns beside a model, .* `export_generator` wrote",
        ),
        ("paper", ValueError, "'paper'. learns beside a model"),
        ("nowhere.safetensors", FileNotFoundError, "'nowhere.safetensors' does not exist"),
        ("patterns:sky", ValueError, "must be among stripes, board, border, circles, clock, random, got 'sky'"),
        (np.zeros(3, np.uint8), ValueError, r"`background` has shape \(3,\)"),
        (np.zeros((2, 2), np.int64), ValueError, "`background` has dtype torch.int64"),
        (np.full((2, 2), 2.0), ValueError, r"range over \[2, 2\], expected \[0, 1\]"),
        (Noise, TypeError, r"`background` \(=<class .*Noise'>\) must be a name"),
        (3, TypeError, r"`background` \(=3\) must be a name, a path, a picture, or have a method"),
    ],
)
def test_what_is_no_background_is_refused(background: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_source(background)


def test_a_source_that_makes_other_shapes_is_named() -> None:
    class Small:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return torch.zeros(count, 1, 2, 2)

    with pytest.raises(ValueError, match=r"Small.sample made backgrounds of shape \(1, 1, 2, 2\)"):
        draw_backgrounds(Small(), 1, (3, 4, 4), seed=0)


def test_nothing_learns_through_a_pipeline() -> None:
    class Learning(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = torch.nn.Parameter(torch.tensor(0.5))

        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return self.level.expand(count, *shape)

    assert not draw_backgrounds(Learning(), 1, (3, 4, 4), seed=0).requires_grad


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (255.0, torch.float32, r"range over \[255, 255\], expected \[0, 1\]"),
        (float("nan"), torch.float32, r"range over \[nan, nan\]"),
        (200, torch.uint8, r"made backgrounds of torch\.uint8"),
    ],
)
def test_a_source_that_makes_no_pixels_is_refused(value: float, dtype: torch.dtype, message: str) -> None:
    class Source:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return torch.full((count, *shape), value, dtype=dtype)

    with pytest.raises(ValueError, match=message):
        draw_backgrounds(Source(), 2, (3, 4, 4), seed=0)


def test_of_no_images_nothing_is_asked() -> None:
    check_pixels(torch.zeros(0, 3, 4, 4))
    assert draw_backgrounds(Noise(), 0, (3, 4, 4), seed=0).shape == (0, 3, 4, 4)

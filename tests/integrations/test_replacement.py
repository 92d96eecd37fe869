"""Where the pipelines' backgrounds come from."""

from contextlib import nullcontext
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


@pytest.mark.parametrize("size", [(20, 50), (45, 33)])
def test_an_enlarged_pattern_shows_at_each_pixel_what_lies_at_its_middle(size: tuple[int, int]) -> None:
    drawn = draw_backgrounds(as_source("patterns:random"), 1, (1, *size), seed=0)[0, 0]
    rows, columns = (np.floor((np.arange(length) + 0.5) * 32 / length).astype(int) for length in size)
    np.testing.assert_array_equal(drawn.numpy(), PATTERNS["random"](32).numpy()[np.ix_(rows, columns)])


@pytest.mark.parametrize("name", ["random", "scenes", "noise", "patterns"])
def test_the_same_seed_draws_the_same_whatever_the_global_stream(name: str) -> None:
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for seed in (0, 1):
            torch.manual_seed(seed)
            drawn.append(draw_backgrounds(as_source(name), 4, (3, 32, 32), seed=5))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], draw_backgrounds(as_source(name), 4, (3, 32, 32), seed=6))


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


def test_a_picture_becomes_float32_within_the_unit_interval_whatever_rounding_has_left_of_it() -> None:
    picture = np.full((7, 5), 1.0005)
    for size in ((7, 5), *((side, side) for side in range(1, 30))):
        drawn = draw_backgrounds(as_source(picture), 1, (3, *size), seed=0)
        assert drawn.dtype == torch.float32
        assert 0.999 < drawn.min() <= drawn.max() <= 1


def test_a_fine_picture_is_shrunk_without_a_new_pattern() -> None:
    board = (np.indices((66, 66)).sum(axis=0) % 2).astype(np.float32)
    drawn = draw_backgrounds(as_source(board), 1, (1, 8, 10), seed=0)
    torch.testing.assert_close(drawn, torch.full_like(drawn, 0.5), rtol=0, atol=0.05)


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
        (np.zeros((1, 2, 2, 3), np.uint8), ValueError, r"`background` has shape \(1, 2, 2, 3\)"),
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
            assert not torch.is_grad_enabled()
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


@pytest.mark.parametrize(("value", "refused"), [(-0.04, False), (1.04, False), (-0.06, True), (1.06, True)])
def test_pixels_may_overshoot_a_little_as_resized_ones_do(value: float, refused: bool) -> None:
    images = torch.full((1, 3, 4, 4), 0.5)
    images[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=r"expected pixels in \[0, 1\]") if refused else nullcontext():
        check_pixels(images)

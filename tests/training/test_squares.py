"""Image files of any kind become square colour images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from advbg.training.squares import check_fit, read_square

RED, WHITE = [255, 0, 0], [255, 255, 255]


def saved(image, path, **options):
    image.save(path, **options)
    return path


def middle(pixels):
    size = pixels.shape[-1]
    return pixels[:, size // 2, size // 2].tolist()


@pytest.mark.parametrize(("mode", "color"), [("L", 100), ("1", 1), ("LA", (100, 255)), ("I;16", 100 * 257)])
def test_grey_images_repeat_their_channel(tmp_path: Path, mode, color) -> None:
    image = Image.new(mode, (20, 20), color)
    pixels = read_square(saved(image, tmp_path / "grey.png"), 16, "pad")
    assert middle(pixels) == [255 if mode == "1" else 100] * 3


def test_bright_values_of_16_bits_are_not_cut_off(tmp_path: Path) -> None:
    image = Image.fromarray(np.full((9, 9), 60000, np.uint16))
    for name in ("deep.png", "deep.tif"):
        assert middle(read_square(saved(image, tmp_path / name), 9, "crop")) == [234] * 3


@pytest.mark.parametrize(("value", "grey"), [(200, 200), (255, 255), (256, 1), (60000, 234)])
def test_32_bits_are_taken_for_what_they_hold(tmp_path: Path, value, grey) -> None:
    image = Image.fromarray(np.full((9, 9), value, np.int32))
    assert middle(read_square(saved(image, tmp_path / "deep.tif"), 9, "crop")) == [grey] * 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_white(tmp_path: Path, mode) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0)).convert(mode)
    pixels = read_square(saved(image, tmp_path / "glass.png"), 8, "pad")
    assert (pixels == 255).all()


def test_half_transparent_pixels_are_between(tmp_path: Path) -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert middle(read_square(saved(image, tmp_path / "glass.png"), 8, "pad")) == [127] * 3


@pytest.mark.parametrize("transparency", [None, 0, b"\x00\xff"])
def test_palettes_are_colours_and_their_transparency_is_white(tmp_path: Path, transparency) -> None:
    image = Image.new("P", (20, 20), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    options = {} if transparency is None else {"transparency": transparency}
    pixels = read_square(saved(image, tmp_path / "palette.png", **options), 8, "pad")
    assert middle(pixels) == (RED if transparency is None else WHITE)


def test_the_inks_of_print_are_colours(tmp_path: Path) -> None:
    image = Image.new("CMYK", (20, 20), (0, 255, 255, 0))
    red, green, blue = middle(read_square(saved(image, tmp_path / "print.jpg", quality=95), 8, "pad"))
    assert red > 200
    assert max(green, blue) < 60


def test_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    pixels[:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned to the left: the top lies on the right
    turned = read_square(saved(Image.fromarray(pixels), tmp_path / "turned.png", exif=exif), 20, "pad")
    assert turned[:, :, 15].min() == 255
    assert turned[:, :, 5].max() == 0


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(1, 90), height=st.integers(1, 90), size=st.integers(1, 40), fit=st.sampled_from(["pad", "crop"])
)
def test_every_size_becomes_a_square(tmp_path: Path, width, height, size, fit) -> None:
    file = saved(Image.new("RGB", (width, height), (10, 20, 30)), tmp_path / "any.png")
    pixels = read_square(file, size, fit)
    assert pixels.shape == (3, size, size)
    assert pixels.dtype == torch.uint8
    assert middle(pixels) == [10, 20, 30]


def striped(tmp_path, tall):
    """A wide or a tall red image with blue ends, in a grey frame."""
    pixels = np.full((20, 60, 3), 128, np.uint8)
    pixels[1:-1, 1:-1] = RED
    pixels[1:-1, 1:8] = pixels[1:-1, -8:-1] = [0, 0, 255]
    return saved(Image.fromarray(pixels.swapaxes(0, 1) if tall else pixels), tmp_path / "striped.png")


@pytest.mark.parametrize("tall", [False, True])
def test_padding_keeps_all_of_an_image_and_goes_on_with_its_border(tmp_path: Path, tall) -> None:
    pixels = read_square(striped(tmp_path, tall), 60, "pad")
    pixels = pixels.mT if tall else pixels
    assert pixels[:, 30, 4].tolist() == [0, 0, 255]
    assert pixels[:, 30, 55].tolist() == [0, 0, 255]
    assert (pixels[:, :19] == 128).all()
    assert (pixels[:, -19:] == 128).all()


@pytest.mark.parametrize("side", range(4))
def test_an_object_at_the_border_does_not_tinge_what_is_filled_up(tmp_path: Path, side) -> None:
    pixels = np.full((24, 40, 3), 200, np.uint8)
    turned = np.rot90(pixels, side)
    turned[:6] = RED
    square = read_square(saved(Image.fromarray(pixels), tmp_path / "cut.png"), 40, "pad")
    assert (square[:, :7] == 200).all()
    assert (square[:, -7:] == 200).all()


@pytest.mark.parametrize("tall", [False, True])
def test_cropping_keeps_the_middle(tmp_path: Path, tall) -> None:
    pixels = read_square(striped(tmp_path, tall), 20, "crop")
    assert (pixels[2] < 200).all()
    assert middle(pixels) == RED


@pytest.mark.parametrize("kind", ["empty", "text", "truncated jpg", "truncated png", "broken header"])
def test_a_broken_file_is_named(tmp_path: Path, kind) -> None:
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        whole, "JPEG" if "jpg" in kind else "PNG"
    )
    contents = {
        "empty": b"",
        "text": b"not an image",
        "truncated jpg": whole.getvalue()[:1500],
        "truncated png": whole.getvalue()[:1500],
        "broken header": whole.getvalue()[:20] + b"\xff" * 300,
    }
    file = tmp_path / "brøken.png"
    file.write_bytes(contents[kind])
    with pytest.raises(ValueError, match=r"brøken.png cannot be read as an image"):
        read_square(file, 8, "pad")


def test_floating_numbers_are_refused(tmp_path: Path) -> None:
    file = saved(Image.fromarray(np.zeros((4, 4), np.float32)), tmp_path / "depth.tif")
    with pytest.raises(ValueError, match=r"depth.tif cannot be read as an image: it holds floating"):
        read_square(file, 8, "pad")


def test_other_ways_to_fit_are_refused() -> None:
    check_fit("crop", "fit")
    with pytest.raises(ValueError, match=r"`test_fit` \(='stretch'\) must be one of pad, crop"):
        check_fit("stretch", "test_fit")

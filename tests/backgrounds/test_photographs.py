"""Photographs of people's own folders."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2.functional import resized_crop, to_dtype

from advbg import Photographs
from advbg.backgrounds.photographs import list_images, read_image


def _save(path: Path, mode: str = "RGB", color: object = (255, 0, 0), size: tuple[int, int] = (20, 10)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def test_crops_are_drawn_from_every_photograph_and_its_sub_folders(tmp_path: Path) -> None:
    _save(tmp_path / "red.png", color=(255, 0, 0))
    _save(tmp_path / "deep" / "green.JPG", color=(0, 255, 0))
    _save(tmp_path / "été.png", color=(0, 0, 255))
    crops = Photographs(tmp_path).sample(40, (3, 8, 6), torch.Generator().manual_seed(0))
    assert crops.shape == (40, 3, 8, 6)
    assert set(crops.mean(dim=(2, 3)).argmax(dim=1).tolist()) == {0, 1, 2}
    assert 0 <= crops.min() <= crops.max() <= 1


@pytest.mark.parametrize("keep_in_memory", [False, True])
def test_crops_are_those_that_torchvision_cuts_out_of_all_of_the_pixels(tmp_path: Path, keep_in_memory: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    source = Photographs(tmp_path, keep_in_memory=keep_in_memory)
    for seed in range(10):
        crop = source.sample(1, (3, 16, 12), torch.Generator().manual_seed(seed))[0]
        _, scale, down, right = torch.rand((1, 4), generator=torch.Generator().manual_seed(seed))[0].tolist()
        rows, columns = round(40 * (0.5 + scale / 2)), round(30 * (0.5 + scale / 2))
        place = (round(down * (40 - rows)), round(right * (60 - columns)), rows, columns)
        whole = to_dtype(torch.from_numpy(pixels).permute(2, 0, 1).contiguous(), torch.float32, scale=True)
        expected = resized_crop(whole, *place, [16, 12], antialias=True).clamp(0, 1)
        assert torch.equal(crop, expected)


def test_a_crop_is_a_part_of_its_photograph_in_proportion(tmp_path: Path) -> None:
    ramp = np.tile(np.arange(0, 200, 2, dtype=np.uint8), (100, 1))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    crops = Photographs(tmp_path).sample(20, (1, 10, 10), torch.Generator().manual_seed(1))
    slopes = (crops[..., -1] - crops[..., 0]).mean(dim=(1, 2)) * 255 / 2 / 9 * 10
    # A square of half to all of the 100 pixels.
    assert 45 < slopes.min() < slopes.max() < 105
    assert slopes.max() - slopes.min() > 10


@pytest.mark.parametrize(
    ("mode", "color", "expected"),
    [
        ("L", 51, [0.2, 0.2, 0.2]),
        ("RGBA", (255, 0, 0, 128), [1, 0.498, 0.498]),
        ("P", 0, [0, 0, 0]),
        ("CMYK", (0, 255, 255, 0), [1, 0, 0]),
    ],
)
def test_images_of_every_mode_become_colour(tmp_path: Path, mode: str, color: object, expected: list[float]) -> None:
    path = _save(tmp_path / ("image.tif" if mode == "CMYK" else "image.png"), mode, color)
    pixels = read_image(path, channels=3)
    torch.testing.assert_close(pixels[:, 0, 0], torch.tensor(expected).float(), atol=0.01, rtol=0)
    assert read_image(path, channels=1).shape == (1, 10, 20)
    assert read_image(path, channels=4).shape == (4, 10, 20)


def test_a_rotated_photograph_is_read_upright(tmp_path: Path) -> None:
    image = Image.new("L", (20, 10))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "rotated.jpg", exif=exif)
    assert read_image(tmp_path / "rotated.jpg", channels=1).shape == (1, 20, 10)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"broken\.jpg cannot be read"):
        Photographs(tmp_path).sample(1, (3, 4, 4), torch.Generator())
    whole = _save(tmp_path / "whole.png", size=(200, 200))
    whole.write_bytes(whole.read_bytes()[:60])
    with pytest.raises(ValueError, match=r"whole\.png cannot be read"):
        read_image(whole, channels=3)


def test_a_folder_without_images_and_no_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden.png").touch()
    with pytest.raises(ValueError, match="has no images"):
        Photographs(tmp_path)
    with pytest.raises(NotADirectoryError, match=r"`folder` \(=.*nowhere'\) is not a directory"):
        list_images(tmp_path / "nowhere")


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64).reshape(8, 8)
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp.astype(np.uint16)).save(tmp_path / name)
        for channels in (1, 3):
            pixels = read_image(tmp_path / name, channels)
            np.testing.assert_allclose(pixels, np.broadcast_to(ramp / 65535, (channels, 8, 8)), atol=1 / 255)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 0, 255, 0])
    image.save(tmp_path / "palette.png", transparency=bytes([255, 128]))
    expected = torch.tensor([127, 255, 127]) / 255
    torch.testing.assert_close(read_image(tmp_path / "palette.png", 3)[:, 0, 0], expected)


def test_an_image_that_claims_to_be_enormous_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"bomb\.png cannot be read.*exceeds limit"):
        read_image(tmp_path / "bomb.png", channels=3)


def test_hidden_folders_and_folders_called_as_images_are_passed_over(tmp_path: Path) -> None:
    seen = _save(tmp_path / ".album" / "seen" / "b.png")
    _save(tmp_path / ".album" / ".thumbs" / "a.jpg")
    (tmp_path / ".album" / "album.jpg").mkdir()
    # What lies above the folder that was asked for may be hidden.
    assert list_images(tmp_path / ".album") == [seen]


def test_what_is_left_out_is_not_shown_and_something_must_be_left(tmp_path: Path) -> None:
    red, blue = (_save(tmp_path / f"{name}.png", color=name) for name in ("red", "blue"))
    photographs = Photographs(tmp_path)
    photographs.leave_out([blue])
    assert photographs.files == [red]
    crops = photographs.sample(20, (3, 8, 8), torch.Generator().manual_seed(0))
    assert set(crops.mean(dim=(2, 3)).argmax(dim=1).tolist()) == {0}
    with pytest.raises(ValueError, match=r"no photograph of 1 is left, such as .*red\.png"):
        photographs.leave_out([red])


def test_what_is_transparent_is_white_whatever_colour_hides_there(tmp_path: Path) -> None:
    path = _save(tmp_path / "cut-out.png", "RGBA", (255, 0, 0, 0))
    for channels in (1, 3):
        assert read_image(path, channels).eq(1).all()


def test_floating_numbers_of_no_known_range_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((5, 5)).astype(np.float32)).save(tmp_path / "heights.tif")
    with pytest.raises(ValueError, match=r"heights\.tif cannot be read as an image: it holds floating numbers"):
        read_image(tmp_path / "heights.tif", 3)


def test_whole_numbers_of_no_known_range_are_refused_and_a_transparent_grey_of_16_bits_is_white(tmp_path: Path) -> None:
    for name, values in (("large", [[0, 65536], [2, 40000]]), ("negative", [[-1, 5], [6, 7]])):
        Image.fromarray(np.array(values, dtype=np.int32)).save(tmp_path / f"{name}.tif")
        with pytest.raises(
            ValueError, match=rf"{name}\.tif cannot be read as an image: its values range over \[-?\d+, "
        ):
            read_image(tmp_path / f"{name}.tif", channels=1)
    grey = np.full((4, 4), 30000, dtype=np.uint16)
    grey[0] = 0
    Image.fromarray(grey).save(tmp_path / "clear.png", transparency=30000)
    pixels = read_image(tmp_path / "clear.png", channels=1)[0]
    assert pixels[0].eq(0).all()
    assert pixels[1:].eq(1).all()


def test_photographs_in_memory_serve_images_of_any_number_of_channels(tmp_path: Path) -> None:
    _save(tmp_path / "red.png")
    source = Photographs(tmp_path, keep_in_memory=True)
    for channels in (1, 3, 1, 4):
        assert source.sample(2, (channels, 4, 4), torch.Generator()).shape == (2, channels, 4, 4)


def test_photographs_in_memory_are_read_once(tmp_path: Path) -> None:
    path = _save(tmp_path / "red.png")
    source = Photographs(tmp_path, keep_in_memory=True)
    first = source.sample(1, (3, 4, 4), torch.Generator().manual_seed(0))
    path.unlink()
    assert torch.equal(source.sample(1, (3, 4, 4), torch.Generator().manual_seed(0)), first)


def test_a_dark_image_of_sixteen_bits_is_dark(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 200, dtype=np.uint16)).save(tmp_path / "night.png")
    assert not read_image(tmp_path / "night.png", channels=1).any()


def test_channels_beyond_the_colours_repeat_them_in_turn(tmp_path: Path) -> None:
    pixels = read_image(_save(tmp_path / "image.png", color=(10, 20, 30)), channels=5)
    assert (255 * pixels[:, 0, 0]).round().tolist() == [10, 20, 30, 10, 20]


def test_photographs_behind_links_are_found_and_no_circle_is_walked(tmp_path: Path) -> None:
    elsewhere = _save(tmp_path / "elsewhere" / "deep" / "a.png").parents[1]
    folder = _save(tmp_path / "folder" / "b.png").parent
    (folder / "streets").symlink_to(elsewhere)
    (folder / "self").symlink_to(folder)
    (folder / ".hidden").symlink_to(elsewhere)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    # Other ways to the same photographs, and folders that lead to each other.
    (folder / "c.png").symlink_to(folder / "b.png")
    (folder / "streets too").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(folder)
    assert list_images(folder) == [folder / "b.png", folder / "streets" / "deep" / "a.png"]


def test_a_photograph_too_small_for_the_images_proportions_gives_a_row_of_its_pixels(tmp_path: Path) -> None:
    _save(tmp_path / "tiny.png", size=(4, 4))
    crops = Photographs(tmp_path).sample(4, (3, 8, 64), torch.Generator().manual_seed(0))
    torch.testing.assert_close(crops, torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(4, 3, 8, 64))


def test_monochrome_images_get_the_brightness_of_colours(tmp_path: Path) -> None:
    for color in ((0, 255, 0), (0, 0, 255), (90, 10, 200)):
        pixels = read_image(_save(tmp_path / "image.png", color=color), channels=1)
        brightness = np.dot([0.299, 0.587, 0.114], color)  # of ITU-R BT.601
        assert 255 * pixels[0, 0, 0].item() == pytest.approx(brightness, abs=1)

"""Photographs as backgrounds (the paper's "real backgrounds")."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2.functional as transforms
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor

IMAGE_SUFFIXES = frozenset({".bmp", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


class Photographs:
    """Random crops of the photographs in a folder, read when they are drawn.

    Args:
        folder: searched with its sub-folders for images (jpg, png, bmp, webp, tif).
        keep_in_memory: whether to read each file once and keep its pixels, a byte for each channel, for folders that
            fit.

    Attributes:
        folder: of the photographs.
        files: the photographs, in alphabetical order.
        keep_in_memory: as above.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where there is no image in it.
    """

    def __init__(self, folder: str | Path, *, keep_in_memory: bool = False) -> None:
        self.folder = Path(folder)
        self.files = list_images(folder)
        self.keep_in_memory = keep_in_memory
        self._kept: dict[tuple[Path, int], UInt8[Tensor, "channel height width"]] = {}

    def leave_out(self, files: Iterable[Path]) -> None:
        """Show the others of these photographs only.

        Args:
            files: some of `files`.

        Raises:
            ValueError: where no photograph is left.
        """
        kept = sorted(set(self.files) - set(files))
        if not kept:
            raise ValueError(f"no photograph of {len(self.files)} is left, such as {self.files[0]}")
        self.files = kept

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Crop photographs: each a random file, in the images' proportions, half to all of the largest crop that fits.

        Monochrome images get grey crops; other numbers of channels than 1 and 3 repeat the colours in turn.

        Raises:
            ValueError: where a file cannot be read as an image; it is named.
        """
        return self.sample_with_files(count, shape, generator)[0]

    def sample_with_files(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> tuple[Float[Tensor, "count channel height width"], list[Path]]:
        """Crop photographs as `sample` does, and say of each which of `files` it is of.

        Returns:
            Pixels in [0, 1], float32, on the generator's device, and a file for each.

        Raises:
            ValueError: where a file cannot be read as an image; it is named.
        """
        draws = torch.rand((count, 4), generator=generator, device=generator.device).tolist()
        files = [self.files[int(draw[0] * len(self.files))] for draw in draws]
        crops = [self._crop(file, draw[1:], shape) for file, draw in zip(files, draws, strict=True)]
        return torch.stack(crops).to(generator.device), files

    def _crop(self, file: Path, draw: Sequence[float], shape: tuple[int, int, int]) -> Tensor:
        channels, height, width = shape
        scale, down, right = draw
        photograph = self._read(file, channels)
        tall, wide = photograph.shape[-2:]
        # The largest crop of the images' proportions that fits, then half to all of it.
        factor = min(tall / height, wide / width) * (0.5 + scale / 2)
        rows, columns = max(1, round(height * factor)), max(1, round(width * factor))
        top, left = round(down * (tall - rows)), round(right * (wide - columns))
        crop = transforms.to_dtype(photograph[:, top : top + rows, left : left + columns], torch.float32, scale=True)
        crop = transforms.resize(crop, [height, width], antialias=True)
        # Interpolation rounds a white pixel to just above 1.
        return crop.clamp(0, 1)

    def _read(self, file: Path, channels: int) -> UInt8[Tensor, "channel height width"]:
        if not self.keep_in_memory:
            return _read_pixels(file, channels)
        if (file, channels) not in self._kept:
            self._kept[file, channels] = _read_pixels(file, channels)
        return self._kept[file, channels]


def list_images(folder: str | Path, argument: str = "folder") -> list[Path]:
    """Find the images in a folder and its sub-folders.

    Args:
        folder: where to look, as `visible_files` does.
        argument: what the user calls it, for messages.

    Returns:
        Their paths in alphabetical order, at least one.

    Raises:
        NotADirectoryError: where `folder` is none.
        ValueError: where there is no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"`{argument}` (={str(folder)!r}) is not a directory")
    found = (path for path in visible_files(folder) if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    # Of an image and links to it, one: it would be shown more often than others.
    files = sorted({os.path.realpath(path): path for path in sorted(found, reverse=True)}.values())
    if not files:
        raise ValueError(f"`{argument}` (={str(folder)!r}) has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return files


def visible_files(folder: Path, visited: set[Path] | None = None) -> Iterator[Path]:
    """Find the files in a folder and its sub-folders.

    Args:
        folder: where to look; hidden files and folders are passed over.
        visited: resolved folders that are not looked into, with those that were.

    Yields:
        Their paths, those behind links included; of a folder that several ways lead to, once.
    """
    visited, here = set() if visited is None else visited, folder.resolve()
    if here in visited:
        return
    visited.add(here)
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from visible_files(entry, visited)
        else:
            yield entry


def read_image(path: Path, channels: int) -> Float[Tensor, "channel height width"]:
    """Read an image upright; transparent pixels become white.

    Args:
        path: the file.
        channels: 1 for grey, otherwise colour, repeated in turn up to this number.

    Returns:
        Pixels in [0, 1], float32.

    Raises:
        ValueError: where the file cannot be read as an image; it is named.
    """
    return transforms.to_dtype(_read_pixels(path, channels), torch.float32, scale=True)


def _read_pixels(path: Path, channels: int) -> UInt8[Tensor, "channel height width"]:
    image = on_white(open_upright(path)).convert("L" if channels == 1 else "RGB")
    pixels = transforms.pil_to_tensor(image)
    return pixels[[channel % len(pixels) for channel in range(channels)]]


def open_upright(path: Path) -> Image.Image:
    """Open an image file upright, with 8 bits a channel; palettes become colours with their transparency.

    Args:
        path: the file.

    Raises:
        ValueError: where the file cannot be read as an image; it is named.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode == "F":
                raise ValueError("it holds floating numbers of no known range")
            if image.mode.startswith("I"):  # of which `convert` would cut off the bright values
                image = _to_8_bits(image)
            # About the transparency of palettes `convert` would warn.
            return image.convert("RGBA") if image.mode in ("P", "PA") else image
    except Exception as error:  # damaged files raise anything in Pillow's readers
        raise ValueError(f"{path} cannot be read as an image: {error}") from error


def on_white(image: Image.Image) -> Image.Image:
    """Show white where an image is transparent; its hidden colours there are anything."""
    if not image.has_transparency_data:
        return image
    colors = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), colors).convert("RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16 bits; images of 32 bits are taken for 8 or 16 bits, by their largest value.

    A grey that stands for transparency becomes white.
    """
    grey, transparent = np.asarray(image), image.info.get("transparency")
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"its values range over [{grey.min()}, {grey.max()}], which is neither 8 nor 16 bits")
    is_8_bits = grey.dtype.itemsize == 4 and grey.max() < 256
    eight_bits = (grey if is_8_bits else grey >> 8).astype(np.uint8)
    if isinstance(transparent, int):
        eight_bits[grey == transparent] = 255
    return Image.fromarray(eight_bits)

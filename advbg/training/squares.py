"""Image files of any kind as square colour images."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from advbg.backgrounds.photographs import on_white, open_upright

FITS = ("pad", "crop")


def check_fit(fit: str, argument: str) -> None:
    """Check the name of a way to make images square.

    Raises:
        ValueError: where it is none of `FITS`.
    """
    if fit not in FITS:
        raise ValueError(f"`{argument}` (={fit!r}) must be one of {', '.join(FITS)}")


def read_square(file: Path, size: int, fit: str) -> UInt8[Tensor, "3 size size"]:
    """Read an image upright, as colours, square.

    Grey images repeat their channel, 16 bits become 8, transparent pixels become white.

    Args:
        file: jpg, png, bmp, webp or tif.
        size: side of the square, in pixels; smaller images are enlarged.
        fit: `pad` keeps all of the image and fills up with the median colour of its border; `crop` keeps its middle.

    Raises:
        ValueError: where the file cannot be read as an image; it is named.
    """
    image = on_white(open_upright(file)).convert("RGB")
    width, height = image.size
    if fit == "crop":
        side = min(width, height)
        box = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
        square = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    else:
        scale = size / max(width, height)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        square = Image.new("RGB", (size, size), _border_color(image))
        shrunk = image.resize(inner, Image.Resampling.BICUBIC)
        square.paste(shrunk, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).contiguous()


def _border_color(image: Image.Image) -> tuple[int, int, int]:
    pixels = np.asarray(image)
    frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = np.median(frame, axis=0).astype(int).tolist()
    return red, green, blue

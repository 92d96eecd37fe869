"""Folders of made-up images: coloured blocks on white."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from advbg.training.data import TrainingData

COLORS = {"blå": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}


def a_picture(name: str = "red", seed: int = 0, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """An upright picture (height, width) of a block somewhere on white."""
    generator = np.random.default_rng(seed)
    height, width = size
    pixels = np.full((height, width, 3), 255, np.uint8)
    row, column = generator.integers(2, height // 2), generator.integers(2, width // 2)
    pixels[row : row + height // 3, column : column + width // 3] = COLORS[name]
    return Image.fromarray(pixels)


def a_folder(root: Path, count: int = 6, seed: int = 0) -> Path:
    """A folder of three classes."""
    for name in COLORS:
        (root / name).mkdir(parents=True)
        for index in range(count):
            a_picture(name, seed + index).save(root / name / f"{index}.png")
    return root


def some_data(count: int = 18, held_out: int = 9, *, silhouettes: bool = False) -> TrainingData:
    """The same pictures in memory, at 32 pixels."""
    names = list(COLORS)
    pictures = [a_picture(names[index % 3], index, (32, 32)) for index in range(count + held_out)]
    pixels = torch.stack([torch.from_numpy(np.array(picture)).permute(2, 0, 1) for picture in pictures])
    targets = torch.arange(count + held_out) % 3
    objects = (pixels < 255).any(dim=1, keepdim=True)[:count] if silhouettes else None
    return TrainingData(pixels[:count], targets[:count], pixels[count:], targets[count:], objects)

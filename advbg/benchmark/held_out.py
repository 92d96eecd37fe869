"""Backgrounds that no method of the benchmark trains on and nobody tuned for: half to choose by, half to report."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import skimage.data
import torch
import torchvision.transforms.v2.functional as transforms
from jaxtyping import Bool, Float, Int
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images
from torch import Tensor, nn

from advbg.benchmark.paper_backgrounds import dilated_silhouettes, replace_background

BACKGROUNDS_OF_A_KIND = 10
# Objects that are pasted around.
OBJECTS = 40

_SEED = 20201
_BATCH_SIZE = 100
# Bundled with scikit-image, so that nothing is downloaded.
_PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")
_WORDS = ("outdoor", "STUDIO", "0123456789", "camera", "The quick", "brown fox", "jumps", "over", "LAZY", "dog?!")


@dataclass(frozen=True)
class HeldOut:
    """Made backgrounds, by their use.

    Attributes:
        choose: what defaults may be chosen by.
        report: what is reported, and nothing is chosen by.
    """

    choose: dict[str, Float[Tensor, "height width"]]
    report: dict[str, Float[Tensor, "height width"]]


def make_held_out(objects: Float[Tensor, "count 1 size size"]) -> HeldOut:
    """Make the backgrounds: ten of each of six kinds, the same on every machine with the same libraries.

    Args:
        objects: monochrome images of objects on black, of which some are pasted around; at least 40.

    Returns:
        Backgrounds in [0, 1] of the objects' size, under names such as `text-3`; of each kind, the first, third, ...
        are to choose by.
    """
    size = objects.shape[-1]
    kinds: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
        "photograph": lambda index, random: _photograph(index, size, random),
        "text": lambda index, random: _text(index, size, random),
        "gradient": lambda index, random: _gradient(index, size, random),
        "objects": lambda index, _: _objects(objects[4 * index : 4 * index + 4], size),
        "moire": lambda _, random: _moire(size, random),
        "blobs": lambda _, random: _blobs(size, random),
    }
    made: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for number, (kind, make) in enumerate(kinds.items()):
        for index in range(BACKGROUNDS_OF_A_KIND):
            background = make(index, np.random.default_rng((_SEED, number, index)))
            made[index % 2][f"{kind}-{index}"] = torch.from_numpy(background.astype(np.float32)).clamp(0, 1)
    return HeldOut(*made)


def right_before(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    targets: Int[Tensor, "batch"],
    backgrounds: dict[str, Float[Tensor, "height width"]],
) -> Bool[Tensor, "backgrounds batch"]:
    """Which images a classifier gets right before which backgrounds.

    The mean of all is the accuracy; the share of images that are right before every background is the measure of the
    Backgrounds Challenge (Xiao et al. 2021).

    Args:
        model: in evaluation mode.
        images: pixels in [0, 1] on black.
        targets: indices of classes.
        backgrounds: as `make_held_out` makes them.
    """
    silhouettes = dilated_silhouettes(images)
    rows = []
    with torch.inference_mode():
        for background in backgrounds.values():
            composites = replace_background(images, silhouettes, background)
            logits = torch.cat([model(batch) for batch in composites.split(_BATCH_SIZE)])
            rows.append(logits.argmax(dim=1) == targets)
    return torch.stack(rows)


def _photograph(index: int, size: int, random: np.random.Generator) -> np.ndarray:
    if index < len(_PHOTOGRAPHS):
        photograph = getattr(skimage.data, _PHOTOGRAPHS[index])()
    else:
        photograph = load_sample_images().images[index - len(_PHOTOGRAPHS)]
    grey = Image.fromarray(photograph).convert("L")
    side = int(random.uniform(0.3, 1.0) * min(grey.size))
    left, top = (int(random.integers(0, length - side + 1)) for length in grey.size)
    crop = transforms.pil_to_tensor(grey.crop((left, top, left + side, top + side)))
    return transforms.resize(crop, [size, size], antialias=True)[0].numpy() / 255


def _text(index: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Lines of a word across the whole image, white on black or black on white."""
    height = int(random.integers(size // 4, size // 2))
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), height)
    paper, ink = (0, 255) if random.random() < 0.5 else (255, 0)
    page = Image.new("L", (size, size), paper)
    for line in range(0, size, height):
        start = int(random.integers(-size, 1))
        ImageDraw.Draw(page).text((start, line - height // 5), 4 * f"{_WORDS[index]} ", fill=ink, font=font)
    return np.asarray(page) / 255


def _gradient(index: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Linear, radial and conical ones in turn, from one brightness to another."""
    rows, columns = np.indices((size, size)) / (size - 1) - random.uniform(0.2, 0.8, (2, 1, 1))
    angle = random.uniform(0, 2 * np.pi)
    linear = rows * np.sin(angle) + columns * np.cos(angle)
    conical = (np.arctan2(rows, columns) + angle) % (2 * np.pi)
    ramp = (linear, np.hypot(rows, columns), conical)[index % 3]
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    low, high = random.uniform(0, 0.4), random.uniform(0.6, 1.0)
    return low + (high - low) * (ramp if random.random() < 0.5 else 1 - ramp)


def _objects(objects: Tensor, size: int) -> np.ndarray:
    """Four other objects at half their size, one in each corner."""
    half = transforms.resize(objects, [size // 2, size // 2], antialias=True)[:, 0].numpy()
    return np.block([[half[0], half[1]], [half[2], half[3]]])


def _moire(size: int, random: np.random.Generator) -> np.ndarray:
    """Two gratings of nearly the same pitch over each other."""
    rows, columns = np.indices((size, size))
    angle, pitch = random.uniform(0, np.pi), random.uniform(2.5, 6.0)
    pattern = np.ones((size, size))
    for turn, stretch in ((0.0, 1.0), (random.uniform(0.1, 0.4), random.uniform(1.05, 1.3))):
        along = rows * np.sin(angle + turn) + columns * np.cos(angle + turn)
        pattern = pattern * (0.5 + 0.5 * np.cos(2 * np.pi * along / (pitch * stretch)))
    return pattern / pattern.max()


def _blobs(size: int, random: np.random.Generator) -> np.ndarray:
    """White shapes as wide as the strokes of a digit."""
    noise = gaussian_filter(random.standard_normal((size, size)), random.uniform(1.0, 1.6), mode="wrap")
    return (noise > np.quantile(noise, random.uniform(0.55, 0.8))).astype(float)

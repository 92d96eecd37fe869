"""Small white-on-black images at 32 pixels, as the paper uses them (section IV)."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.datasets import MNIST, FashionMNIST

IMAGE_SIZE = 32

_TORCHVISION = {"mnist": MNIST, "fashion-mnist": FashionMNIST}
_DIGIT_SIZE = 20
# Just under 1/16, the scans' own faintest ink: interpolation makes multiples of 0.01/16, so rounding decides nothing.
_FAINTEST_INK = 0.995 / 16
# The test set is one and the same whatever seed a run has.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class ImageDataset:
    """Training and test images with their classes.

    Attributes:
        name: of the data set.
        train_images: pixels in [0, 1], white on black.
        train_targets: indices of classes.
        test_images: as `train_images`.
        test_targets: as `train_targets`.
        class_names: one for each class.
    """

    name: str
    train_images: Float[Tensor, "train channel height width"]
    train_targets: Int[Tensor, "train"]
    test_images: Float[Tensor, "test channel height width"]
    test_targets: Int[Tensor, "test"]
    class_names: tuple[str, ...]


def load_dataset(name: str, *, data_dir: Path, train_size: int | None, seed: int) -> ImageDataset:
    """Load a data set.

    Args:
        name: `digits` (scikit-learn's 1,797 scans; nothing is read from disk), `mnist` or `fashion-mnist`.
        data_dir: where torchvision keeps its data sets; what is missing is downloaded to it.
        train_size: how many training images to take, by a random choice of `seed`; None takes all.
        seed: of that choice.

    Raises:
        ValueError: where `name` is unknown or `train_size` is not between 1 and what there is.
        FileNotFoundError: where the data are neither in `data_dir` nor can be downloaded.
    """
    if name == "digits":
        dataset = _digits()
    elif name in _TORCHVISION:
        dataset = _torchvision(name, data_dir)
    else:
        raise ValueError(f"`name` (={name!r}) must be one of digits, {', '.join(_TORCHVISION)}")
    available = len(dataset.train_images)
    if train_size is None:
        return dataset
    if not 1 <= train_size <= available:
        raise ValueError(f"`train_size` (={train_size}) must be from 1 to the {available} training images of {name}")
    chosen = torch.randperm(available, generator=torch.Generator().manual_seed(seed))[:train_size]
    return replace(dataset, train_images=dataset.train_images[chosen], train_targets=dataset.train_targets[chosen])


def _digits() -> ImageDataset:
    scans: Any = load_digits()
    images = torch.from_numpy(scans.images).float()[:, None] / 16
    images = F.interpolate(images, size=_DIGIT_SIZE, mode="bilinear")
    # Fainter values are the smear of interpolation, which would fill the digits' holes in the silhouette `x > 0`.
    images = images.where(images > _FAINTEST_INK, 0.0)
    images = F.pad(images, ((IMAGE_SIZE - _DIGIT_SIZE) // 2,) * 4)
    targets = torch.from_numpy(scans.target).long()
    train, test = train_test_split(
        torch.arange(len(images)), test_size=0.25, stratify=scans.target, random_state=_SPLIT_SEED
    )
    names = tuple(str(name) for name in scans.target_names)
    return ImageDataset("digits", images[train], targets[train], images[test], targets[test], names)


def _torchvision(name: str, data_dir: Path) -> ImageDataset:
    kind = _TORCHVISION[name]
    try:
        parts = [kind(data_dir, train=train) for train in (True, False)]
    except RuntimeError:
        parts = _download(name, data_dir)
    (train_images, train_targets), (test_images, test_targets) = (
        (F.pad(part.data.float().div(255)[:, None], (2,) * 4), part.targets.clone()) for part in parts
    )
    return ImageDataset(name, train_images, train_targets, test_images, test_targets, tuple(parts[0].classes))


def _download(name: str, data_dir: Path) -> list[MNIST]:
    try:
        return [_TORCHVISION[name](data_dir, train=train, download=True) for train in (True, False)]
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"{name} is not in `data_dir` (={str(data_dir)!r}) and cannot be downloaded ({error}): pass --data-dir"
        ) from error

"""The data of the case studies: objects in a studio, and the same kinds of objects elsewhere."""

from dataclasses import dataclass
from pathlib import Path

from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from advbg.training.folders import (
    ClassFolder,
    check_memory,
    check_test_folder,
    check_training_folder,
    find_classes,
    load_images,
    split,
)
from advbg.training.silhouettes import flooded_silhouettes

# Of the studio's images, the same share of each class; which ones, a seed of its own says, the same for all runs.
_HELD_OUT = 0.2
_SPLIT_SEED = 0

# The studio's folder and those elsewhere, below the folder of the data.
_FOLDERS = {
    "office10": ("office10/amazon", ("office10/webcam", "office10/dslr")),
    "fruits": ("fruits/studio", ("fruits/shop",)),
}

# The paper's insulators: `components/data_<class>_<number>`; 1 is the laboratory, 3 a first and 2 and 4 a second drone
# (as the authors' code reads them).
_INSULATORS = ("IPL", "IPN", "IPV", "ISB")
_INSULATOR_SETS = {"laboratory": (1,), "drone 1": (3,), "drone 2": (2, 4)}

STUDIES = (*_FOLDERS, "insulators")

# Those whose images a licence lets others show; Office-31 is for research and the insulators are not public.
MAY_BE_SHOWN = ("fruits",)


@dataclass(frozen=True)
class Images:
    """Images in memory.

    Attributes:
        pixels: squares.
        targets: indices of classes.
    """

    pixels: UInt8[Tensor, "count 3 size size"]
    targets: Int64[Tensor, "count"]


@dataclass(frozen=True)
class Study:
    """A case study.

    Attributes:
        name: one of `STUDIES`.
        classes: their names.
        training: the studio's images to train on.
        held_out: the studio's other images.
        silhouettes: where the objects of `held_out` are.
        elsewhere: images of the same classes in other places, by name.
    """

    name: str
    classes: tuple[str, ...]
    training: Images
    held_out: Images
    silhouettes: Bool[Tensor, "held_out 1 size size"]
    elsewhere: dict[str, Images]


def load_study(name: str, data_dir: Path, image_size: int) -> Study:
    """Read the images of a study.

    Args:
        name: one of `STUDIES`.
        data_dir: folder of the data: with `office10/{amazon,webcam,dslr}/<class>/*`, `fruits/{studio,shop}/<class>/*`
            or, for the insulators, `components/data_<class>_<number>/*`.
        image_size: side of the squares in pixels.

    Raises:
        OSError: where a folder is not there.
        ValueError: where the name is unknown, or a folder or a file cannot be used; the message names it.
    """
    if name not in STUDIES:
        raise ValueError(f"`study` (={name!r}) must be one of {', '.join(STUDIES)}")
    studio, *others = _insulators(data_dir) if name == "insulators" else _class_folders(name, data_dir)
    check_training_folder(studio)
    # Splitting copies the studio's images.
    count = 2 * len(studio.files) + sum(len(folder.files) for folder in others)
    check_memory(3 * count * image_size**2, f"`image_size` (={image_size})", "pass a smaller --image-size")
    loaded = load_images(studio, studio.classes, image_size, "pad")
    training, held_out = split(loaded, len(studio.classes), _HELD_OUT, _SPLIT_SEED)
    elsewhere = {}
    for folder in others:
        check_test_folder(folder, studio.classes)
        images = load_images(folder, studio.classes, image_size, "crop")
        elsewhere[folder.path.name] = Images(images.pixels, images.targets)
    return Study(
        name,
        studio.classes,
        Images(loaded.pixels[training], loaded.targets[training]),
        Images(loaded.pixels[held_out], loaded.targets[held_out]),
        flooded_silhouettes(loaded.pixels[held_out]),
        elsewhere,
    )


def _class_folders(name: str, data_dir: Path) -> list[ClassFolder]:
    studio, others = _FOLDERS[name]
    return [find_classes(data_dir / folder, "data_dir") for folder in (studio, *others)]


def _insulators(data_dir: Path) -> list[ClassFolder]:
    """Each set of the paper's case study as one folder of classes."""
    components = data_dir / "components"
    if not components.is_dir():
        raise NotADirectoryError(f"`data_dir` (={str(data_dir)!r}) has no folder `components`, as the insulators have")
    everything = find_classes(components, "data_dir")
    found: dict[str, list[Path]] = {label: [] for label in everything.labels}
    for file, label in zip(everything.files, everything.labels, strict=True):
        found[label].append(file)
    sets = []
    for name, numbers in _INSULATOR_SETS.items():
        labels, files = [], []
        for kind in _INSULATORS:
            for number in numbers:
                folder = f"data_{kind}_{number}"
                if folder not in found:
                    raise NotADirectoryError(f"`data_dir` (={str(data_dir)!r}) has no folder `components/{folder}`")
                files += found[folder]
                labels += [kind] * len(found[folder])
        sets.append(ClassFolder(components / name, _INSULATORS, tuple(files), tuple(labels), {}))
    return sets

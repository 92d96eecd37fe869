"""Everything that a run of `advbg train` needs, read and checked before anything is written."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from advbg.backgrounds.photographs import open_upright
from advbg.naming import name_some
from advbg.training.data import TrainingData
from advbg.training.devices import choose_device
from advbg.training.fit import check_length
from advbg.training.folders import (
    ClassFolder,
    LoadedImages,
    check_memory,
    check_test_folder,
    check_training_folder,
    find_classes,
    load_images,
    split,
)
from advbg.training.gentle import check_classifier
from advbg.training.models import check_model, check_size, check_tuned_model, check_weights, create_model
from advbg.training.settings import FitSettings, photographs_in
from advbg.training.squares import check_fit
from advbg.training.tunings import GENTLE

# Sets of images in the results, beside the test folders.
HELD_OUT = "held-out"
BEFORE = "held-out, before "


@dataclass(frozen=True)
class RunSettings:
    """What makes a run what it is.

    Args:
        folder: with a sub-folder for each class.
        model: name of a timm model.
        tests: further folders of the same classes.
        weights: file of a pre-trained model, or None.
        pretrained: whether timm downloads weights.
        image_size: side of the images in pixels, 8 or more; None for the model's own.
        fit: how images of `folder` become square, `pad` or `crop`.
        test_fit: how images of `tests` become square.
        validation_share: share of the images of each class that is held out, in (0, 1).
        skip_unreadable: whether to go on without files that cannot be read, photographs among them.
        tensorboard: whether to write logs for TensorBoard.
        device: `cpu`, `cuda` or `auto`.
        training: how the model is trained.

    Raises:
        ValueError: where an argument is out of range; the message names it.
    """

    folder: str
    model: str
    tests: tuple[str, ...] = ()
    weights: str | None = None
    pretrained: bool = False
    image_size: int | None = None
    fit: str = "pad"
    test_fit: str = "crop"
    validation_share: float = 0.2
    skip_unreadable: bool = False
    tensorboard: bool = False
    device: str = "auto"
    training: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        check_model(self.model)
        check_weights(self.weights, pretrained=self.pretrained)
        training = self.training
        check_tuned_model(
            training.tuning, self.weights, pretrained=self.pretrained, hold_statistics=training.hold_statistics
        )
        if self.image_size is not None and self.image_size < 8:
            raise ValueError(f"`image_size` (={self.image_size}) must be 8 or more")
        check_fit(self.fit, "fit")
        check_fit(self.test_fit, "test_fit")
        if not 0 < self.validation_share < 1:
            raise ValueError(f"`validation_share` (={self.validation_share!r}) must be a share in (0, 1)")
        choose_device(self.device)

    def named(self) -> dict[str, Any]:
        """All settings by their names, those of the training among them."""
        return {name: value for name, value in asdict(self).items() if name != "training"} | asdict(self.training)


@dataclass(frozen=True)
class PreparedRun:
    """Everything that a training needs, read and checked; nothing is written yet.

    Attributes:
        settings: of the run.
        model: on its device.
        classes: their names.
        images: of the training folder.
        split: indices of the training images and of those that are held out.
        tests: images of the other folders by name.
        passed_over: files that are no images, by their endings, over all folders.
    """

    settings: RunSettings
    model: nn.Module
    classes: tuple[str, ...]
    images: LoadedImages
    split: tuple[Tensor, Tensor]
    tests: dict[str, LoadedImages]
    passed_over: dict[str, int]

    @property
    def data(self) -> TrainingData:
        """The training folder's images, split."""
        training, held_out = self.split
        pixels, targets = self.images.pixels, self.images.targets
        return TrainingData(pixels[training], targets[training], pixels[held_out], targets[held_out])

    @property
    def unreadable(self) -> list[str]:
        """Files that were skipped, over all folders."""
        images = [str(file) for images in (self.images, *self.tests.values()) for file in images.unreadable]
        return images + list(self.settings.training.leave_out or ())

    @property
    def photographs(self) -> list[str]:
        """Paths of the photographs that the training shows."""
        sources = photographs_in(self.settings.training.companion_options() or {})
        return sorted({str(file) for source in sources for file in source.files})

    def files(self, indices: Tensor) -> list[str]:
        """Paths of images of the training folder."""
        return [str(self.images.files[index]) for index in indices.tolist()]


def prepare(settings: RunSettings) -> PreparedRun:
    """Read and check every file, and make the model.

    Raises:
        OSError: where a folder or file is not there.
        ValueError: where a folder, a file or the weights cannot be used; the message names them.
    """
    folder = find_classes(Path(settings.folder))
    check_training_folder(folder)
    tests = _name_tests([find_classes(Path(path), "--test") for path in settings.tests])
    for test in tests.values():
        check_test_folder(test, folder.classes)
    _check_unseen(folder, tests, settings.training)
    weights = Path(settings.weights) if settings.weights else None
    model = create_model(
        settings.model,
        len(folder.classes),
        seed=settings.training.seed,
        weights=weights,
        pretrained=settings.pretrained,
        image_size=settings.image_size,
        tuning=settings.training.tuning,
    )
    if settings.training.tuning == GENTLE:
        check_classifier(model)
    size = settings.image_size or resolve_model_data_config(model)["input_size"][-1]
    check_size(model, settings.model, size)
    if settings.tensorboard:
        importlib.import_module("torch.utils.tensorboard")  # which is not installed everywhere
    # Splitting copies the training folder's images.
    count = 2 * len(folder.files) + sum(len(test.files) for test in tests.values())
    check_memory(3 * count * size**2, f"`image_size` (={size})", "pass a smaller --image-size")
    skip = settings.skip_unreadable
    images = load_images(folder, folder.classes, size, settings.fit, skip_unreadable=skip)
    parts = split(images, folder.classes, settings.validation_share, settings.training.seed)
    loaded = {
        name: load_images(test, folder.classes, size, settings.test_fit, skip_unreadable=skip)
        for name, test in tests.items()
    }
    passed_over: dict[str, int] = {}
    for found in (folder, *tests.values()):
        for ending, count in found.passed_over.items():
            passed_over[ending] = passed_over.get(ending, 0) + count
    check_length(settings.training, len(parts[0]))
    if broken := _broken_photographs(settings.training, skip=skip):
        settings = replace(settings, training=replace(settings.training, leave_out=broken))
    model = model.to(choose_device(settings.device))
    return PreparedRun(settings, model, folder.classes, images, parts, loaded, passed_over)


def _broken_photographs(settings: FitSettings, *, skip: bool) -> tuple[str, ...]:
    """Open every photograph that the training will show, which it reads again in its steps, and say which cannot be."""
    problems: dict[Path, str] = {}
    sources = photographs_in(settings.companion_options() or {})
    files = {file for source in sources for file in source.files}
    kept, needed = {file for source in sources if source.keep_in_memory for file in source.files}, 0
    for file in sorted(files):
        try:
            image = open_upright(file)
        except ValueError as error:
            problems[file] = str(error)
        else:
            needed += 3 * image.width * image.height if file in kept else 0
    check_memory(needed, f"`photographs` (={settings.photographs!r})", "shrink them, or pass fewer")
    if problems and (not skip or any(problems.keys() >= set(source.files) for source in sources)):
        hint = "" if skip else "; --skip-unreadable goes on without"
        listed = name_some(list(problems.values()), "; ")
        raise ValueError(f"{len(problems)} of {len(files)} photographs cannot be read{hint}: {listed}")
    return tuple(str(file) for file in problems)


def _check_unseen(folder: ClassFolder, tests: Mapping[str, ClassFolder], settings: FitSettings) -> None:
    """Refuse tests on what is trained on, images or photographs."""
    shown = {file for source in photographs_in(settings.companion_options() or {}) for file in source.files}
    for what, files in (("FOLDER", folder.files), ("the photographs", shown)):
        trained = {os.path.realpath(file) for file in files}
        for test in tests.values():
            if seen := [str(file) for file in test.files if os.path.realpath(file) in trained]:
                raise ValueError(
                    f"`--test` (={str(test.path)!r}) has {len(seen)} of its {len(test.files)} images from {what}, "
                    f"which are trained on: {name_some(seen)}"
                )


def _name_tests(folders: list[ClassFolder]) -> dict[str, ClassFolder]:
    """Test folders by their own names, or by their paths where those are not different."""
    names = [folder.path.resolve().name for folder in folders]
    if len(set(names)) < len(names) or any(name.startswith(HELD_OUT) for name in names):
        paths = [str(folder.path) for folder in folders]
        # What is held out has that name.
        names = [f"./{path}" if path.startswith(HELD_OUT) else path for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"`--test` (={', '.join(names)}) names a folder twice")
    return dict(zip(names, folders, strict=True))

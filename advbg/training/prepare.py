"""Everything that a run of `advbg train` needs, read and checked before anything is written."""

import importlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from timm.data.config import resolve_model_data_config
from torch import nn

from advbg.backgrounds.photographs import open_upright
from advbg.naming import name_some
from advbg.training.data import TrainingData
from advbg.training.devices import choose_device
from advbg.training.fit import check_length
from advbg.training.folders import (
    ClassFolder,
    LoadedImages,
    check_memory,
    check_readable,
    check_test_folder,
    check_training_folder,
    find_classes,
    load_images,
    split,
)
from advbg.training.gentle import check_classifier
from advbg.training.models import (
    check_model,
    check_size,
    check_tuned_model,
    check_weights,
    construction_options,
    create_model,
    rebuilt_name,
)
from advbg.training.sets import check_unseen, name_tests
from advbg.training.settings import FitSettings, photographs_in
from advbg.training.squares import check_fit
from advbg.training.tunings import GENTLE

_HELD_OUT_SHARE = 0.2


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
        validation: folder of the images that are held out, with classes of `folder`; None to draw them from `folder`.
        validation_share: share of the images of each class that is drawn, in (0, 1); None for 0.2.
        split_seed: says which ones are, whatever the seed of the training, from 0 to 2**63 - 1.
        skip_unreadable: whether to go on without files that cannot be read, photographs among them.
        tensorboard: whether to write logs for TensorBoard.
        device: as `choose_device` takes it.
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
    validation: str | None = None
    validation_share: float | None = None
    split_seed: int = 0
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
        if self.validation is not None and self.validation_share is not None:
            raise ValueError(
                f"`validation_share` (={self.validation_share!r}) and `validation` (={self.validation!r}) are two "
                "answers to one question"
            )
        if not 0 < self.held_out_share < 1:
            raise ValueError(f"`validation_share` (={self.validation_share!r}) must be a share in (0, 1)")
        if not 0 <= self.split_seed < 2**63:
            raise ValueError(f"`split_seed` (={self.split_seed!r}) must be from 0 to 2**63 - 1")
        choose_device(self.device)

    @property
    def held_out_share(self) -> float:
        """Of each class, where images are drawn."""
        return _HELD_OUT_SHARE if self.validation_share is None else self.validation_share

    @property
    def folders(self) -> list[Path]:
        """All folders of classes."""
        return [Path(folder) for folder in (self.folder, self.validation, *self.tests) if folder is not None]

    def named(self) -> dict[str, Any]:
        """All settings by their names, those of the training among them."""
        return {name: value for name, value in asdict(self).items() if name != "training"} | asdict(self.training)


@dataclass(frozen=True)
class PreparedRun:
    """Everything that a training needs, read and checked; nothing is written yet.

    Attributes:
        settings: of the run.
        model: on its device.
        timm_name: by which timm makes the same model without the source that it came from.
        timm_options: that timm must be told with it.
        classes: their names.
        training: images to train on.
        held_out: images that are held out.
        tests: images of the test folders by name.
        unreadable: files that were skipped, over all folders.
        passed_over: files that are no images, by their endings, over all folders.
    """

    settings: RunSettings
    model: nn.Module
    timm_name: str
    timm_options: dict[str, Any]
    classes: tuple[str, ...]
    training: LoadedImages
    held_out: LoadedImages
    tests: dict[str, LoadedImages]
    unreadable: list[str]
    passed_over: dict[str, int]

    @property
    def data(self) -> TrainingData:
        """The images to train on and those that are held out."""
        training, held_out = self.training, self.held_out
        return TrainingData(training.pixels, training.targets, held_out.pixels, held_out.targets)

    @property
    def photographs(self) -> list[str]:
        """Paths of the photographs that the training shows."""
        sources = photographs_in(self.settings.training.companion_options() or {})
        return sorted({str(file) for source in sources for file in source.files})


def prepare(settings: RunSettings) -> PreparedRun:
    """Read and check every file, and make the model.

    Raises:
        OSError: where a folder or file is not there.
        ValueError: where a folder, a file or the weights cannot be used; the message names them.
    """
    folder, validation, tests = _find_folders(settings)
    others = [*tests.values(), *([validation] if validation else [])]
    model, size, timm_options = _make_model(settings, len(folder.classes))
    if settings.tensorboard:
        importlib.import_module("torch.utils.tensorboard")  # which is not installed everywhere
    # Splitting copies the training folder's images.
    count = (1 if validation else 2) * len(folder.files) + sum(len(other.files) for other in others)
    check_memory(3 * count * size**2, f"`image_size` (={size})", "pass a smaller --image-size")

    def load(found: ClassFolder, fit: str) -> LoadedImages:
        return load_images(found, folder.classes, size, fit, skip_unreadable=settings.skip_unreadable)

    images = load(folder, settings.fit)
    check_readable(images, folder.classes, 1 if validation else 2)
    if validation is not None:
        training, held_out = images, load(validation, settings.fit)
    else:
        parts = split(images, len(folder.classes), settings.held_out_share, settings.split_seed)
        training, held_out = (images.chosen(part) for part in parts)
    loaded = {name: load(test, settings.test_fit) for name, test in tests.items()}
    check_length(settings.training, len(training.pixels))
    if broken := _broken_photographs(settings.training, skip=settings.skip_unreadable):
        left_out = (*(settings.training.leave_out or ()), *broken)
        settings = replace(settings, training=replace(settings.training, leave_out=left_out))
    unreadable = {str(file) for found in (images, held_out, *loaded.values()) for file in found.unreadable}
    passed_over = sum((Counter(found.passed_over) for found in (folder, *others)), Counter())
    return PreparedRun(
        settings=settings,
        model=model.to(choose_device(settings.device)),
        timm_name=rebuilt_name(settings.model, model),
        timm_options=timm_options,
        classes=folder.classes,
        training=training,
        held_out=held_out,
        tests=loaded,
        unreadable=[*sorted(unreadable), *broken],
        passed_over=dict(passed_over),
    )


def _find_folders(settings: RunSettings) -> tuple[ClassFolder, ClassFolder | None, dict[str, ClassFolder]]:
    """The training folder, that of what is held out, if there is one, and the test folders by name."""
    folder = find_classes(Path(settings.folder))
    check_training_folder(folder, 1 if settings.validation else 2)
    tests = name_tests([find_classes(Path(path), "--test") for path in settings.tests])
    validation = find_classes(Path(settings.validation), "--validation") if settings.validation else None
    tested = [("--test", test) for test in tests.values()] + ([("--validation", validation)] if validation else [])
    for argument, test in tested:
        check_test_folder(test, folder.classes, argument)
    shown = {file for source in photographs_in(settings.training.companion_options() or {}) for file in source.files}
    check_unseen(tested, {"FOLDER": folder.files, "the photographs": shown})
    return folder, validation, tests


def _make_model(settings: RunSettings, classes: int) -> tuple[nn.Module, int, dict[str, Any]]:
    """The model, on the CPU, the side of its images, and what timm must be told to make it again."""
    model = create_model(
        settings.model,
        classes,
        seed=settings.training.seed,
        weights=Path(settings.weights) if settings.weights else None,
        pretrained=settings.pretrained,
        image_size=settings.image_size,
        tuning=settings.training.tuning,
    )
    if settings.training.tuning == GENTLE:
        check_classifier(model)
    # What a source says beside its weights, before what they were made from.
    options = construction_options(settings.model, settings.image_size)
    size = settings.image_size or _side(options.get("img_size")) or resolve_model_data_config(model)["input_size"][-1]
    check_size(model, settings.model, size)
    return model, size, options


def _side(size: int | Sequence[int] | None) -> int | None:
    return size[-1] if isinstance(size, Sequence) else size


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

"""The paper's experiment from end to end: train every row, test it before the six backgrounds, write it all down."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from advbg.backgrounds.photographs import list_images
from advbg.benchmark import figures
from advbg.benchmark.checkpoints import save_classifier
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.environment import environment
from advbg.benchmark.evaluation import accuracy_before_paper_backgrounds, sensitivity
from advbg.benchmark.files import write_json, write_text
from advbg.benchmark.mask_quality import rate_companions
from advbg.benchmark.methods import METHODS, PHOTOGRAPHS, PLAIN_METHODS, check_methods, mask_recipe
from advbg.benchmark.paper_results import paper_results
from advbg.benchmark.run_folder import begin_folder, measured_before, open_folder
from advbg.benchmark.tables import markdown_table
from advbg.benchmark.training import Progress, Recipe, Trained, train
from advbg.files import save_state
from advbg.preview import Preview, preview

# Epochs of the classifier, mask and adversarial phase.
DEFAULT_EPOCHS = {"digits": (15, 10, 30), "mnist": (4, 3, 16), "fashion-mnist": (4, 3, 16)}
DEFAULT_BATCH_SIZE = 32
PRECISIONS = ("float32", "bfloat16")

# The rows whose accuracy is drawn against the noise rate, as in the paper.
_SENSITIVITY_METHODS = ("baseline", "proposal")

_SHOWN_IMAGES = 10


def check_precision(precision: str) -> None:
    """Check the name of a precision.

    Raises:
        ValueError: where it is none of `PRECISIONS`.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"`precision` (={precision!r}) must be one of {', '.join(PRECISIONS)}")


@dataclass(frozen=True)
class Settings:
    """What makes a run what it is; a run that goes on must have the same.

    Args:
        dataset: `digits`, `mnist` or `fashion-mnist`.
        methods: names of the rows.
        train_size: training images, or None for all of them.
        epochs: of the classifier, mask and adversarial phase, each 0 or more and one at least 1: that of the masks
            where `methods` has rows that learn them.
        seed: of everything random, 0 or more.
        batch_size: images in a step, 1 or more.
        precision: `float32`, or `bfloat16` for training under autocast.
        augmentation: whether training images are augmented as the paper's were.
        photographs: folder for the row `photographs`, or None without that row.

    Raises:
        NotADirectoryError: where `photographs` is no folder.
        ValueError: where an argument is out of range; the message names it.
    """

    dataset: str
    methods: tuple[str, ...]
    train_size: int | None
    epochs: tuple[int, int, int]
    seed: int
    batch_size: int = DEFAULT_BATCH_SIZE
    precision: str = "float32"
    augmentation: bool = False
    photographs: str | None = None

    def __post_init__(self) -> None:
        check_methods(self.methods)
        if len(self.epochs) != 3 or min(self.epochs) < 0 or max(self.epochs) < 1:
            raise ValueError(f"`epochs` (={self.epochs}) must be three whole numbers, 0 or more, not all 0")
        with_masks = [method for method in self.methods if method not in PLAIN_METHODS]
        if self.epochs[1] == 0 and with_masks:
            raise ValueError(
                f"`epochs` (={self.epochs}) must leave 1 or more to the masks, which {', '.join(with_masks)} learn"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"`seed` (={self.seed}) must be 0 or more, and below 2**63")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` (={self.batch_size}) must be 1 or more")
        check_precision(self.precision)
        if (PHOTOGRAPHS in self.methods) != (self.photographs is not None):
            raise ValueError(
                f"`photographs` (={self.photographs!r}) must be a folder if `methods` has photographs, and only then"
            )
        if self.photographs is not None:
            list_images(self.photographs, "photographs")

    @property
    def recipe(self) -> Recipe:
        """How the rows are trained."""
        return Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            bfloat16=self.precision == "bfloat16",
            augmentation=self.augmentation,
            photographs=Path(self.photographs) if self.photographs else None,
        )


def open_run(output: Path, settings: Settings, *, resume: bool) -> None:
    """Make the folder of a new run, or check that of one that goes on.

    Args:
        output: the folder.
        settings: of this run.
        resume: whether to go on with what is there.

    Raises:
        FileExistsError: where `output` has files and `resume` is off, or is not a folder.
        ValueError: where the run in `output` had other settings, which the message names, or is damaged.
    """
    # Rows do not depend on each other, so a run that goes on may have other ones.
    ours = open_folder(output, asdict(settings), resume=resume, may_differ=("methods", "photographs"))
    measured_before(output, "methods")
    begin_folder(output, ours)


def reproduce(
    settings: Settings, dataset: ImageDataset, output: Path, report: Callable[[Progress], None]
) -> dict[str, Any]:
    """Run the experiment in a folder that `open_run` opened.

    Args:
        settings: of the run.
        dataset: the images that `settings` name.
        output: the folder; it gets `results.json`, `results.md`, figures, and a folder for each method with
            `model.safetensors` and, where there are any, `companions.pt`.
        report: called after every step.

    Returns:
        What `results.json` holds.
    """
    results: dict[str, Any] = {
        "dataset": settings.dataset,
        "seed": settings.seed,
        "train_size": len(dataset.train_images),
        "settings": asdict(settings),
        **environment(),
        # A row that an earlier session measured is not measured again.
        "methods": measured_before(output, "methods"),
        "paper": paper_results(settings.dataset),
    }
    previews: dict[str, Preview] = {}
    for method in settings.methods:
        folder = output / method
        folder.mkdir(exist_ok=True)
        shared = output / f"masks-{mask_recipe(method)}.pt"
        trained = train(method, dataset, settings.recipe, folder / "state.pt", report, shared_file=shared)
        if method not in results["methods"]:
            # In the precision of the training; `advbg evaluate` always tests in float32.
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.recipe.bfloat16):
                measured = _measure(method, trained, dataset)
            checkpoint = _save_weights(trained, dataset, method, folder)
            results["methods"][method] = measured | {"checkpoint": str(checkpoint)}
        if trained.wrapper is not None:
            previews[method] = _draw_companions(trained, dataset, folder)
        results["methods"] = {name: results["methods"][name] for name in METHODS if name in results["methods"]}
        write_json(output / "results.json", results)
    write_text(output / "results.md", markdown_table(results))
    figures.accuracy_bars(results, output / "accuracy.png")
    shown = "proposal" if "proposal" in previews else next(iter(previews), None)
    if shown is not None:
        figures.overview(previews[shown].images, previews[shown].composites, results, output / "overview.png")
    return results


def _measure(method: str, trained: Trained, dataset: ImageDataset) -> dict[str, Any]:
    model, images, targets = trained.model, dataset.test_images, dataset.test_targets
    measured: dict[str, Any] = {
        "accuracy": accuracy_before_paper_backgrounds(model, images, targets),
        "seconds": round(sum(trained.seconds.values()), 1),
        "phase_seconds": {phase: round(seconds, 1) for phase, seconds in trained.seconds.items()},
    }
    if method in _SENSITIVITY_METHODS:
        measured["sensitivity"] = sensitivity(model, images, targets)
    if trained.wrapper is not None:
        measured["mask"] = asdict(rate_companions(trained.wrapper.companions, images))
    return measured


def _save_weights(trained: Trained, dataset: ImageDataset, method: str, folder: Path) -> Path:
    channels, image_size = dataset.test_images.shape[1:3]
    checkpoint = folder / "model.safetensors"
    save_classifier(
        trained.model,
        checkpoint,
        dataset=dataset.name,
        method=method,
        image_size=image_size,
        channels=channels,
        classes=len(dataset.class_names),
    )
    if trained.wrapper is not None:
        save_state(trained.wrapper.companions.state_dict(), folder / "companions.pt")
    return checkpoint


def _draw_companions(trained: Trained, dataset: ImageDataset, folder: Path) -> Preview:
    if trained.wrapper is None:
        raise ValueError(f"{folder.name} was trained without companions")
    shown = preview(trained.wrapper.companions, dataset.test_images[:_SHOWN_IMAGES])
    figures.composite_rows(
        shown.images, shown.masks, shown.composites, folder / "composites.png", binarized_masks=shown.binarized
    )
    if trained.snapshots:
        figures.backgrounds_over_training(trained.snapshots, folder / "backgrounds.png")
    return shown

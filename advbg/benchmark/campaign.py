"""Everything behind the tables of the documentation: data sets, seeds, rows, augmentation and the study."""

import json
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from advbg.benchmark.datasets import load_dataset
from advbg.benchmark.environment import measured_in
from advbg.benchmark.files import check_writable, copy_file, read_json, write_json
from advbg.benchmark.held_out import OBJECTS
from advbg.benchmark.methods import METHODS, PHOTOGRAPHS
from advbg.benchmark.progress import Report
from advbg.benchmark.reproduce import DEFAULT_EPOCHS, Settings, open_run, reproduce
from advbg.benchmark.seeds import RESULTS_PARTS
from advbg.benchmark.study import StudySettings, run_study
from advbg.benchmark.study_arms import ARMS
from advbg.benchmark.training import Progress

AUGMENTED = "-augmented"

# The rows that are also trained with the paper's augmentation.
_AUGMENTED_METHODS = ("baseline", "proposal")
# Settings that rows of one run may differ in, since rows do not depend on each other.
_MAY_DIFFER = ("methods", "photographs")
# What is kept of a run beside its weights.
_PUBLISHED_FIGURES = ("backgrounds.png", "composites.png")


@dataclass(frozen=True)
class Campaign:
    """What is run.

    Args:
        datasets: names of data sets.
        seeds: of the runs, each of all data sets.
        methods: rows of the tables.
        epochs: of the classifier, mask and adversarial phase.
        batch_size: images in a step.
        precision: `float32` or `bfloat16`.
        study_seconds: of training for each arm of the study; 0 leaves the study out.
        augmentation: whether baseline and proposal are also trained with the paper's augmentation.
        train_size: training images, or None for all of them.
        photographs: folder for the row `photographs`, which is left out without.

    Raises:
        NotADirectoryError: where `photographs` is no folder.
        ValueError: where an argument is out of range; the message names it.
    """

    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    epochs: tuple[int, int, int]
    batch_size: int
    precision: str
    study_seconds: float
    augmentation: bool
    train_size: int | None
    photographs: Path | None

    def __post_init__(self) -> None:
        if not self.datasets or not self.seeds:
            raise ValueError(f"`datasets` (={self.datasets}) and `seeds` (={self.seeds}) must have one at least")
        if self.study_seconds < 0:
            raise ValueError(f"`study_seconds` (={self.study_seconds}) must be 0 or more")
        if self.study_seconds and self.train_size is not None and self.train_size < OBJECTS:
            raise ValueError(
                f"`train_size` (={self.train_size}) must be {OBJECTS} or more for the study, some of whose backgrounds "
                "are made of training images"
            )
        for dataset in self.datasets:
            if dataset not in DEFAULT_EPOCHS:
                raise ValueError(
                    f"`datasets` (={','.join(self.datasets)!r}) must be some of {', '.join(DEFAULT_EPOCHS)}"
                )
            for seed in self.seeds:
                self.settings(dataset, seed, augmentation=False)

    def settings(self, dataset: str, seed: int, *, augmentation: bool) -> Settings:
        """Settings of one run."""
        methods = self.methods
        if self.photographs is None:
            methods = tuple(method for method in methods if method != PHOTOGRAPHS)
        if augmentation:
            methods = tuple(method for method in methods if method in _AUGMENTED_METHODS)
        return Settings(
            dataset=dataset,
            methods=methods,
            train_size=self.train_size,
            epochs=self.epochs,
            seed=seed,
            batch_size=self.batch_size,
            precision=self.precision,
            augmentation=augmentation,
            photographs=str(self.photographs) if PHOTOGRAPHS in methods else None,
        )


ALL_METHODS = METHODS


def run_campaign(campaign: Campaign, data_dir: Path, output: Path, published: Path, report: Report) -> None:
    """Run what is not done yet, and publish every row as soon as its run ends.

    Args:
        campaign: what to run.
        data_dir: where torchvision keeps its data sets.
        output: folder of the runs; what is there goes on.
        published: folder of the documentation that gets each run's JSON and figures; rows that it has are not run
            again, so that another machine, or another day, can add to them.
        report: called after every step.

    Raises:
        OSError: where a folder of `published` takes no files; nothing has been trained for it.
        ValueError: where what is published was run with other settings, or is damaged.
    """
    for seed in campaign.seeds:
        for dataset in campaign.datasets:
            images = load_dataset(dataset, data_dir=data_dir, train_size=campaign.train_size, seed=seed)
            for augmentation in (False, True) if campaign.augmentation else (False,):
                name = f"{dataset}{AUGMENTED if augmentation else ''}"
                folder = output / name / f"seed-{seed}"
                target = published / name / f"seed-{seed}"
                check_writable(target, "published")
                settings = campaign.settings(dataset, seed, augmentation=augmentation)
                settings = without_published(settings, target / "results.json")
                if settings is not None:
                    open_run(folder, settings, resume=True)
                    reproduce(settings, images, folder, partial(report, run=f"{name} {seed}"))
                    publish_run(folder, published / name, seed)
            if campaign.study_seconds:
                _study(campaign, dataset, seed, images, output, published, report)


def _study(
    campaign: Campaign,
    dataset: str,
    seed: int,
    images: Any,
    output: Path,
    published: Path,
    report: Report,
) -> None:
    folder, target = output / dataset / f"seed-{seed}", published / dataset / f"seed-{seed}"
    settings = StudySettings(
        arms=tuple(ARMS),
        seconds=campaign.study_seconds,
        batch_size=campaign.batch_size,
        seed=seed,
        bfloat16=campaign.precision == "bfloat16",
    )

    def show(arm: str, step: int, steps: int, loss: float) -> None:
        report(Progress(arm, "adversarial", step, steps, loss, None), run=f"{dataset} {seed}")

    run_study(settings, images, folder / "masks-default.pt", target / "study.json", show)


def without_published(settings: Settings, published: Path) -> Settings | None:
    """Leave out the rows that are published already.

    Args:
        settings: of a run.
        published: its `results.json` in the documentation, which may not be there.

    Returns:
        The settings with the rows that are left, or None where there are none.

    Raises:
        ValueError: where `published` was run with other settings, or is damaged.
    """
    if not published.is_file():
        return settings
    results = read_json(published, *RESULTS_PARTS)
    for name, value in json.loads(json.dumps(asdict(settings))).items():
        before = results["settings"].get(name)
        if name not in _MAY_DIFFER and before != value:
            raise ValueError(f"{published} was run with `{name}` {before!r}, not {value!r}")
    left = tuple(method for method in settings.methods if method not in results["methods"])
    photographs = settings.photographs if PHOTOGRAPHS in left else None
    return replace(settings, methods=left, photographs=photographs) if left else None


def publish_run(folder: Path, published: Path, seed: int) -> None:
    """Add a run's results, and the figures of the proposal of the first seed, to the documentation.

    Rows that are added on another machine, or with other versions, say so themselves.

    Args:
        folder: of the run.
        published: folder of the data set in the documentation.
        seed: of the run.

    Raises:
        ValueError: where one of the two `results.json` is damaged.
    """
    target = published / f"seed-{seed}"
    target.mkdir(parents=True, exist_ok=True)
    results = read_json(folder / "results.json", *RESULTS_PARTS)
    for method in results["methods"].values():
        method.pop("checkpoint")  # which names a place on this machine
    photographs = results["settings"]["photographs"]
    results["settings"]["photographs"] = photographs and Path(photographs).name
    if (target / "results.json").is_file():
        before = read_json(target / "results.json", *RESULTS_PARTS)
        rows = measured_in(results["methods"], results, before) | before["methods"]
        results |= {name: before[name] for name in ("machine", "versions")}
        results["methods"] = {method: rows[method] for method in METHODS if method in rows}
        results["settings"]["photographs"] = results["settings"]["photographs"] or before["settings"].get("photographs")
    results["settings"]["methods"] = list(results["methods"])
    write_json(target / "results.json", results)
    for figure in _PUBLISHED_FIGURES:
        if seed == 0 and (folder / "proposal" / figure).is_file():
            copy_file(folder / "proposal" / figure, published / figure)

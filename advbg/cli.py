"""The `advbg` command."""

import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import torchvision.transforms.v2.functional as transforms
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor
from typer.exceptions import TyperException

from advbg.backgrounds import parse_background
from advbg.backgrounds.photographs import list_images, read_image
from advbg.benchmark.case_study.commands import case_study
from advbg.benchmark.commands import bench, masks, tables
from advbg.command_line import (
    RUNS,
    WRONG_USAGE,
    load_state,
    mendable,
    parse_epochs,
    parse_seeds,
    resumable,
    run_folder,
)
from advbg.plugin_commands import add_plugin_commands, plugins
from advbg.preview import preview as make_preview
from advbg.preview import rebuild
from advbg.report.commands import report
from advbg.training.commands import train
from advbg.training.squares import check_fit, read_square

_SHOWN_IMAGES = 16

app = typer.Typer(
    help="Make image models robust to a change of background.", no_args_is_help=True, add_completion=False
)


app.command()(tables)
app.command()(masks)
app.command()(bench)
app.command()(train)
app.command()(report)
app.command("case-study")(case_study)


class DatasetName(StrEnum):
    """The data sets of the experiment."""

    DIGITS = "digits"
    MNIST = "mnist"
    FASHION_MNIST = "fashion-mnist"


class TaskName(StrEnum):
    """What is reproduced: the paper's classification, or a demonstration of another task."""

    CLASSIFICATION = "classification"
    SEGMENTATION = "segmentation"
    REGRESSION = "regression"
    REINFORCEMENT = "reinforcement"


def main() -> None:
    """Run the command; exit with 2 and one line where the arguments or files are at fault."""
    # Names of files may be in an encoding that the terminal's has no characters for.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with mendable():
            add_plugin_commands(app)
        code = app(standalone_mode=False)
    except TyperException as error:
        # `advbg` alone prints its help, and has nothing to add.
        if message := " ".join(error.format_message().split()):
            print(f"advbg: {message}", file=sys.stderr)
        sys.exit(WRONG_USAGE)
    sys.exit(code if isinstance(code, int) else 0)


def _version(wanted: bool) -> bool:
    if wanted:
        from advbg import __version__

        print(f"advbg {__version__}")
        raise typer.Exit
    return wanted


app.command()(plugins)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def reproduce(
    task: Annotated[
        TaskName, typer.Option(help="The paper's classification, or a demonstration of another task.")
    ] = TaskName.CLASSIFICATION,
    dataset: Annotated[DatasetName | None, typer.Option(help="By default `digits`, which needs no download.")] = None,
    methods: Annotated[
        str | None, typer.Option(help="Rows of the table, separated by commas; baseline,proposal by default.")
    ] = None,
    train_size: Annotated[int | None, typer.Option(help="Training images; all by default.")] = None,
    epochs: Annotated[
        str | None, typer.Option(metavar="E1,E2,E3", help="Epochs of the classifier, mask and adversarial phase.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same figures; 0 by default.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Of a demonstration, separated by commas; 0,1,2 by default.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images in a training step.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="`float32` by default; `bfloat16` for processors that are faster in it.")
    ] = None,
    augmentation: Annotated[
        bool, typer.Option("--augmentation", help="Augment the training images as the paper does.")
    ] = False,
    photographs: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Photographs for the row `photographs`.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where torchvision keeps MNIST and Fashion-MNIST; `data` by default.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the run; a new one in `runs` by default.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder, by default the newest.")
    ] = False,
    published: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also keep a demonstration's figures and page there.")
    ] = None,
) -> None:
    """Train with and without the method, and test before other backgrounds: by default the paper's six."""
    from advbg.benchmark import reproduce as experiment
    from advbg.benchmark.datasets import load_dataset
    from advbg.benchmark.demonstrations.commands import demonstrate, prepare_demonstration, refuse_foreign_options
    from advbg.benchmark.progress import flushing_denormals, progress_bar
    from advbg.benchmark.tables import rich_table

    with mendable():
        refuse_foreign_options(
            task.value,
            dataset=dataset,
            methods=methods,
            train_size=train_size,
            epochs=epochs,
            seed=seed,
            seeds=seeds,
            batch_size=batch_size,
            precision=precision,
            augmentation=augmentation or None,
            photographs=photographs,
            data_dir=data_dir,
            published=published,
        )
    images_of, places = (dataset or DatasetName.DIGITS).value, data_dir or Path("data")
    precision = precision or "float32"
    folder = output or run_folder(images_of if task is TaskName.CLASSIFICATION else task.value, resume=resume)
    if task is not TaskName.CLASSIFICATION:
        with mendable():
            chosen_seeds = parse_seeds(seeds or "0,1,2")
            demonstration = prepare_demonstration(
                task.value,
                dataset=images_of,
                data_dir=places,
                train_size=train_size,
                epochs=parse_epochs(epochs) if epochs else None,
                batch_size=batch_size,
                precision=precision,
                output=folder,
                resume=resume,
            )
        with resumable():
            demonstrate(demonstration, chosen_seeds, folder, published)
        return
    seed = seed or 0
    with mendable():
        settings = experiment.Settings(
            dataset=images_of,
            methods=tuple(name.strip() for name in (methods or "baseline,proposal").split(",")),
            train_size=train_size,
            epochs=parse_epochs(epochs) if epochs else experiment.DEFAULT_EPOCHS[images_of],
            seed=seed,
            batch_size=experiment.DEFAULT_BATCH_SIZE if batch_size is None else batch_size,
            precision=precision,
            augmentation=augmentation,
            photographs=str(photographs) if photographs else None,
        )
        images = load_dataset(images_of, data_dir=places, train_size=train_size, seed=seed)
        experiment.open_run(folder, settings, resume=resume)
    console = Console()
    console.print(f"{images_of}: {len(images.train_images)} training, {len(images.test_images)} test images")
    with resumable(), progress_bar(console) as report, flushing_denormals():
        results = experiment.reproduce(settings, images, folder, report)
    console.print(rich_table(results))
    console.print(f"Tables, figures and weights are in [bold]{escape(str(folder))}[/bold]", soft_wrap=True)


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A `model.safetensors` of `advbg reproduce`.")],
    dataset: Annotated[DatasetName, typer.Option(help="Whose test images to use.")],
    backgrounds: Annotated[Path, typer.Option(metavar="FOLDER", help="Images to put behind the objects.")],
    data_dir: Annotated[Path | None, typer.Option(help="As for `reproduce`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Test a classifier of `advbg reproduce` before backgrounds of your own, in the paper's way."""
    from advbg.benchmark.checkpoints import load_classifier
    from advbg.benchmark.datasets import load_dataset
    from advbg.benchmark.evaluation import accuracy_before_photographs

    with mendable():
        images = load_dataset(dataset.value, data_dir=data_dir or Path("data"), train_size=None, seed=0)
        channels, image_size = images.test_images.shape[1:3]
        classes = len(images.class_names)
        model = load_classifier(
            checkpoint, dataset=dataset.value, image_size=image_size, channels=channels, classes=classes
        )
        accuracy = accuracy_before_photographs(model, images.test_images, images.test_targets, backgrounds)
    mean = sum(accuracy.values()) / len(accuracy)
    if as_json:
        print(json.dumps({"dataset": dataset.value, "accuracy": accuracy, "mean": mean}, indent=2))
        return
    table = Table("background", "accuracy (%)", title=escape(f"{checkpoint} on {dataset.value}"))
    table.columns[1].justify = "right"
    for name, value in accuracy.items():
        table.add_row(escape(name), f"{value:.1f}")
    table.add_section()
    table.add_row("mean", f"{mean:.1f}", style="bold")
    Console().print(table)


@app.command()
def preview(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    output: Annotated[Path, typer.Option(metavar="FILE.png", help="The figure to write.")],
    companions: Annotated[
        Path | None,
        typer.Option(help="A saved `companions.state_dict()`; by default that of the newest run in `runs`."),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="What they were trained against, where that was photographs: as for `train`.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="`pad` images to squares in colour, the default, or `crop` them: as for `train`.")
    ] = None,
) -> None:
    """Show what a trained wrapper's companions make of images: image, mask, binarised mask, composite."""
    from advbg.benchmark.figures import composite_rows

    with mendable():
        if output.suffix.lower() != ".png":
            raise ValueError(f"`output` (={str(output)!r}) must end in .png")
        if not output.resolve().parent.is_dir():
            raise FileNotFoundError(f"the folder of `output` (={str(output)!r}) does not exist")
        if fit is not None:
            check_fit(fit, "fit")
        state_file = companions or _newest_companions()
        against = parse_background(background, "background") if background is not None else None
        restored = rebuild(load_state(state_file), against)
        files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
        channels, height, width = restored.image_shape or (0, 0, 0)
        if fit is not None and (channels != 3 or height != width):
            raise ValueError(
                f"`fit` (={fit!r}) is for squares in colour, but the companions have seen {channels} channels of "
                f"{height} x {width} pixels"
            )
        # Spread over all of them, since a folder's files are in the order of its classes.
        chosen = torch.linspace(0, len(files) - 1, min(_SHOWN_IMAGES, len(files))).long().tolist()
        shown = [_read_whole(files[index], channels, height, width, fit) for index in chosen]
        made = make_preview(restored, restored.pixel_space.from_pixels(torch.stack(shown)))
        composite_rows(made.images, made.masks, made.composites, output, binarized_masks=made.binarized)
    print(f"{output}: {len(shown)} of {len(files)} images, by {state_file}")


def _read_whole(file: Path, channels: int, height: int, width: int, fit: str | None) -> Tensor:
    """An image of this size: squares of colours as `advbg train` shows them to a model, others by their middle."""
    if channels == 3 and height == width:
        return read_square(file, height, fit or "pad") / 255
    resized = transforms.resize(read_image(file, channels), [max(height, width)], antialias=True)
    return transforms.center_crop(resized, [height, width])


def _newest_companions() -> Path:
    # Of `advbg train`, and of the rows of `advbg reproduce`.
    found = [file for place in ("*", "*/*") for file in RUNS.glob(f"{place}/companions.pt")]
    files = sorted(found, key=lambda path: path.stat().st_mtime)
    if not files:
        raise FileNotFoundError(
            "no trained companions in `runs`: run `advbg train` or `advbg reproduce`, or pass --companions FILE"
        )
    return files[-1]

"""The `advbg` command."""

import io
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.exceptions import TyperException

from advbg.benchmark.case_study.commands import case_study
from advbg.benchmark.commands import bench, masks, tables
from advbg.command_line import (
    WRONG_USAGE,
    mendable,
    parse_epochs,
    parse_seeds,
    resumable,
    run_folder,
    some_path,
)
from advbg.plugin_commands import add_plugin_commands, plugins
from advbg.preview_command import preview
from advbg.report.commands import report
from advbg.training.commands import train
from advbg.training.testing_command import rate_folders

app = typer.Typer(
    help="Make image models robust to a change of background.", no_args_is_help=True, add_completion=False
)


app.command()(tables)
app.command()(masks)
app.command()(bench)
app.command()(train)
app.command("test")(rate_folders)
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
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Photographs for the row `photographs`."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FOLDER",
            help="Where torchvision keeps MNIST and Fashion-MNIST; `data` by default.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Folder of the run; a new one in `runs` by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder, by default the newest.")
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Also keep a demonstration's figures and page there."),
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
    precision = "float32" if precision is None else precision
    folder = output or run_folder(images_of if task is TaskName.CLASSIFICATION else task.value, resume=resume)
    if task is not TaskName.CLASSIFICATION:
        with mendable():
            chosen_seeds = parse_seeds("0,1,2" if seeds is None else seeds)
            demonstration = prepare_demonstration(
                task.value,
                dataset=images_of,
                data_dir=places,
                train_size=train_size,
                epochs=None if epochs is None else parse_epochs(epochs),
                batch_size=batch_size,
                precision=precision,
                output=folder,
                resume=resume,
                published=published,
            )
        with resumable():
            demonstrate(demonstration, chosen_seeds, folder, published)
        return
    seed = seed or 0
    with mendable():
        settings = experiment.Settings(
            dataset=images_of,
            methods=tuple(name.strip() for name in ("baseline,proposal" if methods is None else methods).split(",")),
            train_size=train_size,
            epochs=experiment.DEFAULT_EPOCHS[images_of] if epochs is None else parse_epochs(epochs),
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
    checkpoint: Annotated[Path, typer.Argument(parser=some_path, help="A `model.safetensors` of `advbg reproduce`.")],
    dataset: Annotated[DatasetName, typer.Option(help="Whose test images to use.")],
    backgrounds: Annotated[
        Path, typer.Option(parser=some_path, metavar="FOLDER", help="Images to put behind the objects.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option(parser=some_path, metavar="FOLDER", help="As for `reproduce`.")
    ] = None,
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


app.command()(preview)

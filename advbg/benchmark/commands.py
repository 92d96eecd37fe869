"""The commands `advbg tables`, `advbg masks` and `advbg bench`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from advbg.command_line import some_path

_STUDY_SECONDS = 30.0

DataDir = Annotated[
    Path, typer.Option(parser=some_path, metavar="FOLDER", help="Where torchvision keeps its data sets.")
]


def tables(
    data_dir: DataDir = Path("data"),
    output: Annotated[
        Path, typer.Option(parser=some_path, metavar="FOLDER", help="Folder of the runs; what is in it goes on.")
    ] = Path("runs/tables"),
    published: Annotated[
        Path,
        typer.Option(
            parser=some_path,
            metavar="FOLDER",
            help="Folder for results, pages and figures; it takes rows of the same settings, and those that it has are "
            "not run again.",
        ),
    ] = Path("runs/tables/published"),
    datasets: Annotated[str, typer.Option(help="Separated by commas.")] = "mnist,fashion-mnist",
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    methods: Annotated[str | None, typer.Option(help="Rows, separated by commas; all by default.")] = None,
    photographs: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Photographs for the row `photographs`, else left out."),
    ] = None,
    epochs: Annotated[str, typer.Option(metavar="E1,E2,E3", help="As for `reproduce`.")] = "1,1,4",
    batch_size: Annotated[int, typer.Option(help="As for `reproduce`.")] = 64,
    precision: Annotated[str, typer.Option(help="As for `reproduce`.")] = "float32",
    train_size: Annotated[int | None, typer.Option(help="As for `reproduce`.")] = None,
    study_seconds: Annotated[
        float, typer.Option(help="Seconds for each arm of the study of the adversary; 0 leaves it out.")
    ] = _STUDY_SECONDS,
    augmentation: Annotated[bool, typer.Option(help="Also train with the paper's augmentation.")] = True,
    summary_only: Annotated[
        bool, typer.Option("--summary-only", help="Train nothing; make pages and figures from published results.")
    ] = False,
) -> None:
    """Run everything behind the documentation's tables, and write them; the same command goes on where it stopped."""
    from advbg.benchmark.campaign import ALL_METHODS, Campaign, run_campaign
    from advbg.benchmark.progress import flushing_denormals, progress_bar
    from advbg.benchmark.summary import write_summary
    from advbg.command_line import mendable, parse_epochs, parse_seeds

    with mendable():
        campaign = Campaign(
            datasets=tuple(datasets.split(",")),
            seeds=parse_seeds(seeds),
            methods=ALL_METHODS if methods is None else tuple(methods.split(",")),
            epochs=parse_epochs(epochs),
            batch_size=batch_size,
            precision=precision,
            study_seconds=study_seconds,
            augmentation=augmentation,
            train_size=train_size,
            photographs=photographs,
        )
        console = Console()
        if summary_only and not published.is_dir():
            raise NotADirectoryError(f"`published` (={str(published)!r}) is not a directory")
        if not summary_only:
            with progress_bar(console) as report, flushing_denormals():
                run_campaign(campaign, data_dir, output, published, report)
        for page in write_summary(published):
            console.print(page, soft_wrap=True)


def masks(
    companions: Annotated[Path, typer.Argument(parser=some_path, help="A `companions.pt` of `advbg reproduce`.")],
    dataset: Annotated[str, typer.Option(help="`digits`, `mnist` or `fashion-mnist`: whose test images to use.")],
    data_dir: DataDir = Path("data"),
) -> None:
    """Compare learned masks with the objects' silhouettes: intersection over union, recall and area, as JSON."""
    from dataclasses import asdict

    from advbg.benchmark.datasets import load_dataset
    from advbg.benchmark.mask_quality import rate_companions
    from advbg.command_line import load_state, mendable
    from advbg.preview import rebuild

    with mendable():
        restored = rebuild(load_state(companions))
        images = load_dataset(dataset, data_dir=data_dir, train_size=None, seed=0).test_images
        print(json.dumps({"dataset": dataset, **asdict(rate_companions(restored, images))}, indent=2))


def bench(
    model: Annotated[str, typer.Option(help="A timm model, with random weights.")] = "resnet18",
    image_size: Annotated[int, typer.Option(help="Side of the images, in pixels.")] = 128,
    batch_size: Annotated[int, typer.Option(help="Images in a step.")] = 32,
    device: Annotated[str, typer.Option(help="Such as `cpu` or `cuda`.")] = "cpu",
    repeats: Annotated[int, typer.Option(help="Rounds; each times every kind of step once.")] = 5,
    precision: Annotated[str, typer.Option(help="`float32`, or `bfloat16` for autocast.")] = "float32",
    channels_last: Annotated[bool, typer.Option("--channels-last", help="Memory layout of model and images.")] = False,
    output: Annotated[
        Path | None, typer.Option(parser=some_path, metavar="FILE.json", help="Also write the figures there.")
    ] = None,
) -> None:
    """Measure what the method costs beside a plain training step, and beside what else could be done."""
    from advbg.benchmark.cost import CostSettings, measure_cost
    from advbg.benchmark.cost_table import COST_HEADER, cost_rows
    from advbg.benchmark.files import check_writable, write_json
    from advbg.benchmark.progress import flushing_denormals
    from advbg.benchmark.reproduce import check_precision
    from advbg.command_line import mendable

    console = Console()
    with mendable():
        check_precision(precision)
        bfloat16 = precision == "bfloat16"
        settings = CostSettings(model, image_size, batch_size, device, repeats, bfloat16, channels_last)
        if output is not None:
            if not output.resolve().parent.is_dir():
                raise FileNotFoundError(f"the folder of `output` (={str(output)!r}) does not exist")
            if output.is_dir():
                raise IsADirectoryError(f"`output` (={str(output)!r}) is a folder: name a file in it")
            check_writable(output.resolve().parent, "output")
    with console.status("") as status, flushing_denormals():
        results = measure_cost(settings, status.update)
    table = Table(
        title=f"{model}, {image_size} px, batches of {batch_size}, {precision}, {device}",
        box=SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for index, name in enumerate(COST_HEADER):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in cost_rows(results):
        table.add_row(*row)
    console.print(table)
    console.print(f"A whole training with the default `Schedule.fractions`: {results['schedule']:.2f} times plain")
    if output is not None:
        with mendable():
            write_json(output, results)

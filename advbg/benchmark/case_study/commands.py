"""The command `advbg case-study`."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from advbg.command_line import some_path
from advbg.training.commands import Copies, Device, HoldStatistics, LearningRate, Tuning


def case_study(
    study: Annotated[str, typer.Argument(help="office10, fruits or insulators.")],
    photographs: Annotated[
        Path,
        typer.Option(
            parser=some_path,
            metavar="FOLDER",
            help="Photographs to test before, and for rows that train with two thirds of them.",
        ),
    ],
    data_dir: Annotated[
        Path,
        typer.Option(parser=some_path, metavar="FOLDER", help="Folder of the data."),
    ] = Path("data"),
    model: Annotated[str, typer.Option(help="Name of a timm model.")] = "tf_efficientnet_lite0",
    weights: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FILE", help="Weights of the same model, for any classes."),
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Let timm download weights.")] = False,
    rows: Annotated[str | None, typer.Option(help="Separated by commas; all by default.")] = None,
    seeds: Annotated[str, typer.Option(help="Separated by commas.")] = "0,1,2",
    image_size: Annotated[int, typer.Option(help="Side of the images in pixels.")] = 128,
    epochs: Annotated[int, typer.Option(help="Passes over the images, all phases together.")] = 6,
    batch_size: Annotated[int, typer.Option(help="Images in a step.")] = 32,
    learning_rate: LearningRate = None,
    tuning: Tuning = None,
    hold_statistics: HoldStatistics = False,
    copies: Copies = 0.0,
    precision: Annotated[str, typer.Option(help="`float32`, or `bfloat16` for processors that are faster in it.")] = (
        "float32"
    ),
    device: Device = "auto",
    output: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Folder of the run; a new one in `runs` by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder, by default the newest.")
    ] = False,
    published: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FOLDER",
            help="Also keep results, page and pictures that may be shown there; rows that it has are not run again.",
        ),
    ] = None,
) -> None:
    """Train on objects in a studio and test elsewhere, row by row; without weights, from scratch."""
    from advbg.benchmark.case_study.pages import publish, rich_table
    from advbg.benchmark.case_study.rows import ROWS, CaseRecipe, check_rows
    from advbg.benchmark.case_study.running import CaseStudy, open_case_study, run_case_study
    from advbg.benchmark.case_study.studies import load_study
    from advbg.benchmark.progress import flushing_denormals, progress_bar
    from advbg.command_line import UserError, mendable, parse_seeds, resumable, run_folder
    from advbg.training.devices import choose_device
    from advbg.training.models import choose_tuning
    from advbg.training.settings import FitSettings

    console = Console()
    with mendable():
        chosen, numbers = ROWS if rows is None else tuple(rows.split(",")), parse_seeds(seeds)
        check_rows(chosen)
        chosen_tuning = choose_tuning(tuning, weights, pretrained=pretrained)
        recipe = CaseRecipe(
            model=model,
            weights=str(weights) if weights else None,
            pretrained=pretrained,
            image_size=image_size,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=FitSettings.of(
                chosen_tuning, learning_rate, pretrained=pretrained or weights is not None
            ).learning_rate,
            precision=precision,
            tuning=chosen_tuning,
            copies=copies,
            hold_statistics=hold_statistics,
        )
        chosen_device = choose_device(device)
        case = CaseStudy(load_study(study, data_dir, image_size), recipe, photographs, chosen_device)
        folder = output or run_folder(case.name, resume=resume)
        target = published and published / "case-studies" / case.name
        open_case_study(folder, case, chosen, resume=resume, published=target)
    try:
        with resumable(), progress_bar(console) as report, flushing_denormals():
            after_row = partial(publish, folder, case, published) if published is not None else lambda: None
            results = run_case_study(case, chosen, numbers, folder, report, after_row)
            after_row()
    except ValueError as error:
        raise UserError(str(error)) from error
    console.print(rich_table(results))
    console.print(f"Results and figures are in [bold]{escape(str(folder))}[/bold]", soft_wrap=True)

"""The command `advbg train`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from advbg.command_line import some_path
from advbg.options import MOST_DISTRACTORS
from advbg.training.tunings import LIGHTING, OF_RANDOM_WEIGHTS, ORDINARY, PLACEMENT, PLAIN, defaults_of

_PLAIN, _ORDINARY = (defaults_of(tuning, pretrained=True) for tuning in (PLAIN, ORDINARY))

LearningRate = Annotated[
    float | None,
    typer.Option(help="The largest of one cycle, for AdamW; by default 5e-4, and 2e-4 if tuning is gentle."),
]
Tuning = Annotated[
    str | None,
    typer.Option(
        help="`gentle`, the default of pre-trained models, keeps what they know; `plain` does not; `ordinary` also "
        "takes the first classifier as timm makes it."
    ),
]
Copies = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        help="Share of the composites that show their object many times over, as a heap or a shelf does; `paper` and "
        "methods without composites have none.",
    ),
]
Device = Annotated[
    str, typer.Option(help="`auto`, which is the GPU if there is one, or as torch names it: `cpu`, `cuda:1`, `mps`.")
]
SkipUnreadable = Annotated[bool, typer.Option("--skip-unreadable", help="Go on without files that cannot be read.")]
HoldStatistics = Annotated[
    bool,
    typer.Option(
        "--hold-statistics",
        help="Let BatchNorm keep the statistics of a pre-trained model, whatever the method; `gentle` always does.",
    ),
]


def train(
    folder: Annotated[
        Path, typer.Argument(parser=some_path, metavar="FOLDER", help="Images, with a sub-folder for each class.")
    ],
    model: Annotated[str, typer.Option(help="Name of a timm model.")],
    weights: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FILE", help="Weights of the same model, for any classes."),
    ] = None,
    pretrained: Annotated[bool, typer.Option("--pretrained", help="Let timm download weights.")] = False,
    test: Annotated[
        list[Path] | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Test on this folder as well; may be repeated."),
    ] = None,
    method: Annotated[
        str, typer.Option(help="baseline, black, noise, random, paper, proposal or photographs.")
    ] = "proposal",
    background: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER[,...]", help="What `proposal` trains against, such as adversarial=1,FOLDER=1."
        ),
    ] = None,
    clutter: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of the backgrounds of `proposal` that are pieces of other images' objects; by default "
            f"{OF_RANDOM_WEIGHTS.clutter:g}; for pre-trained models {_PLAIN.clutter:g} if tuning is plain, and "
            f"{_ORDINARY.clutter:g} if it is ordinary.",
        ),
    ] = None,
    distractors: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="How many other images' objects stand in each background of `proposal`, in the mean, up to "
            f"{MOST_DISTRACTORS}; by default {OF_RANDOM_WEIGHTS.distractors:g}, and {_ORDINARY.distractors:g} if "
            "tuning is ordinary, no background is said and no statistics are held.",
        ),
    ] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER",
            help="How many backgrounds of `proposal` are drawn for each image, which gets the one that the model "
            f"answers worst before; by default {OF_RANDOM_WEIGHTS.candidates}, and {_ORDINARY.candidates} if tuning is "
            "ordinary and photographs are among them.",
        ),
    ] = None,
    copies: Copies = 0.0,
    placement: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="By how much half of the objects before other backgrounds are shrunk, at most, and moved; "
            f"by default {PLACEMENT:g}.",
        ),
    ] = None,
    lighting: Annotated[
        float | None,
        typer.Option(
            metavar="NUMBER",
            help="Half of the composites are in other light: gamma, brightness and contrast change by factors of up to "
            f"e to this power; by default {LIGHTING:g}.",
        ),
    ] = None,
    clean_share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of each batch that keeps its own background; by default "
            f"{OF_RANDOM_WEIGHTS.clean_share:g}, and {_ORDINARY.clean_share:g} if tuning is ordinary.",
        ),
    ] = None,
    photographs: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Backgrounds of the method `photographs`."),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the images, all phases together.")] = 6,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Images in a step, or more: those that fill no batch of their own are shared out among the others, "
            "which are nearly twice as large at most."
        ),
    ] = 32,
    hflip: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Share of the training images that are mirrored; 0 where left and right tell classes apart.",
        ),
    ] = 0.5,
    learning_rate: LearningRate = None,
    tuning: Tuning = None,
    hold_statistics: HoldStatistics = False,
    image_size: Annotated[int | None, typer.Option(help="Side of the images; the model's own by default.")] = (None),
    fit: Annotated[str, typer.Option(help="`pad` images to squares in their border's colour, or `crop`.")] = "pad",
    test_fit: Annotated[str, typer.Option(help="The same for the test folders.")] = "crop",
    validation: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="FOLDER", help="Hold out these images instead of some that are drawn from FOLDER."
        ),
    ] = None,
    validation_share: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Share of each class that is held out; by default 0.2.")
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Says which images are held out, whatever the seed.")] = 0,
    skip_unreadable: SkipUnreadable = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same model.")] = 0,
    precision: Annotated[str, typer.Option(help="`float32`, or `bfloat16` for processors that are faster in it.")] = (
        "float32"
    ),
    device: Device = "auto",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(parser=some_path, metavar="FOLDER", help="Folder of the run; a new one in `runs` by default."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder, by default the newest.")
    ] = False,
) -> None:
    """Fine-tune a timm model on a folder of images, with or without the method, and test it."""
    from advbg.benchmark.progress import flushing_denormals, progress_bar
    from advbg.benchmark.run_folder import begin_folder, open_folder
    from advbg.command_line import UserError, claim_folder, mendable, resumable, run_folder, stoppable
    from advbg.training.folders import check_apart
    from advbg.training.models import choose_tuning
    from advbg.training.prepare import RunSettings, prepare
    from advbg.training.run import train_folder
    from advbg.training.settings import FitSettings, photographs_in

    console = Console()
    with mendable():
        settings = RunSettings(
            folder=str(folder),
            model=model,
            tests=tuple(str(path) for path in test or ()),
            weights=str(weights) if weights else None,
            pretrained=pretrained,
            image_size=image_size,
            fit=fit,
            test_fit=test_fit,
            validation=str(validation) if validation else None,
            validation_share=validation_share,
            split_seed=split_seed,
            skip_unreadable=skip_unreadable,
            tensorboard=tensorboard,
            device=device,
            training=FitSettings.of(
                choose_tuning(tuning, weights, pretrained=pretrained),
                learning_rate,
                pretrained=pretrained or weights is not None,
                method=method,
                background=background,
                clutter=clutter,
                distractors=distractors,
                candidates=candidates,
                copies=copies,
                placement=placement,
                lighting=lighting,
                clean_share=clean_share,
                hold_statistics=hold_statistics,
                photographs=str(photographs) if photographs else None,
                epochs=epochs,
                batch_size=batch_size,
                hflip=hflip,
                seed=seed,
                precision=precision,
            ),
        )
        path = output or run_folder("train", resume=resume)
        begins_in_a_new_folder = output is None and not path.exists()
        shown = photographs_in(settings.training.companion_options() or {})
        check_apart(path, (*settings.folders, *(source.folder for source in shown)))
        kept = open_folder(path, settings.named(), resume=resume, may_differ=("tests", "device", "tensorboard"))
    with stoppable("stopped before any training"), mendable(), console.status("reading images"):
        run = prepare(settings)
    if run.passed_over:
        console.print(f"passed over: {counted(run.passed_over)}", markup=False)
    with mendable():
        if begins_in_a_new_folder:
            # Another training may have taken the folder while images were read.
            path = claim_folder("train")
        begin_folder(path, kept)
    try:
        with resumable(), progress_bar(console) as report, flushing_denormals():
            results = train_folder(run, path, report, partial(console.print, highlight=False, soft_wrap=True))
    except ValueError as error:
        raise UserError(str(error)) from error
    console.print(results_table(results))
    images = results["images"]
    if images["replaceable"] < images["held_out"]:
        console.print(
            f"{images['held_out'] - images['replaceable']} of {images['held_out']} held-out images have no plain "
            "background that could be replaced: they are not tested before others"
        )
    if images["copies"]:
        console.print(
            f"{images['copies']} of {images['held_out']} held-out images have a copy among the training images"
        )
    console.print(f"Weights, results and figures are in [bold]{escape(str(path))}[/bold]", soft_wrap=True)


def results_table(results: dict[str, Any]) -> Table:
    """The accuracy on every set of images, with its interval.

    Args:
        results: what `results.json` holds.
    """
    images = results["images"]
    table = Table(
        "images",
        "n",
        "accuracy (%)",
        "95 %",
        "best epoch (%)",
        title=f"{results['model']}, {results['method']}: {images['training']} images of {len(results['classes'])} "
        f"classes, {results['seconds']:.0f} s",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, measured in results["sets"].items():
        low, high = measured["interval"]
        best = results["best"]["accuracy"].get(name)
        best = "" if best is None else f"{best:.1f}"
        table.add_row(escape(name), str(measured["n"]), f"{measured['accuracy']:.1f}", f"{low:.1f} to {high:.1f}", best)
    left_out = []
    if images["unreadable"]:
        left_out.append(f"{len(images['unreadable'])} unreadable")
    if images["passed_over"]:
        left_out.append(counted(images["passed_over"]))
    if left_out:
        table.caption = escape(f"files passed over: {', '.join(left_out)}")
    return table


def counted(endings: dict[str, int]) -> str:
    """Files that are not read, by their endings: `8 .heic, 1 .db`."""
    return ", ".join(f"{count} {ending}" for ending, count in sorted(endings.items(), key=lambda pair: -pair[1]))

"""The command `advbg test`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from advbg.command_line import some_path
from advbg.naming import name_some
from advbg.training.commands import Device, SkipUnreadable

if TYPE_CHECKING:
    from advbg.training.folders import LoadedImages
    from advbg.training.trained import TrainedModel


def rate_folders(
    model: Annotated[
        Path, typer.Argument(parser=some_path, metavar="FILE", help="A `model.safetensors` of `advbg train`.")
    ],
    folders: Annotated[
        list[Path],
        typer.Argument(parser=some_path, metavar="FOLDER", help="Images, with a sub-folder for each class."),
    ],
    fit: Annotated[
        str | None, typer.Option(help="`pad` images to squares or `crop` them; as its `--test-fit` said by default.")
    ] = None,
    skip_unreadable: SkipUnreadable = False,
    device: Device = "auto",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, with figures of each class and the surest failures.")
    ] = False,
) -> None:
    """Test a model of `advbg train` on other folders of images."""
    from advbg.command_line import mendable, stoppable
    from advbg.training.devices import choose_device
    from advbg.training.testing import predict, rate
    from advbg.training.trained import load_trained

    with stoppable("stopped"), mendable():
        if model.is_dir():
            raise IsADirectoryError(
                f"`FILE` (={str(model)!r}) is a folder: name a file in it, such as model.safetensors"
            )
        there = choose_device(device)
        trained = load_trained(model)
        tests = _load(
            folders,
            trained,
            trained.test_fit if fit is None else fit,
            model.parent / "split.json",
            skip=skip_unreadable,
        )
        trained.model.to(there)
        measured = {
            name: rate(
                predict(trained.model, images.pixels), images.targets, trained.classes, list(map(str, images.files))
            )
            for name, images in tests.items()
        }
    unreadable = [str(file) for images in tests.values() for file in images.unreadable]
    if as_json:
        print(json.dumps({"model": str(model), "unreadable": unreadable, "sets": measured}, indent=2))
        return
    console = Console()
    console.print(_table(measured, str(model)))
    if unreadable:
        console.print(f"{len(unreadable)} unreadable files were skipped")


def _load(
    paths: list[Path], trained: "TrainedModel", fit: str, split_file: Path, *, skip: bool
) -> dict[str, "LoadedImages"]:
    from advbg.training.folders import check_memory, check_test_folder, find_classes, load_images
    from advbg.training.sets import check_unseen, name_tests
    from advbg.training.squares import check_fit

    check_fit(fit, "fit")
    folders = name_tests([find_classes(path) for path in paths], "FOLDER")
    for folder in folders.values():
        check_test_folder(folder, trained.classes, "FOLDER")
    check_unseen([("FOLDER", folder) for folder in folders.values()], _trained(split_file))
    size = trained.image_size
    count = sum(len(folder.files) for folder in folders.values())
    check_memory(3 * count * size**2, "the model's image size", "test one folder after the other")
    return {
        name: load_images(folder, trained.classes, size, fit, skip_unreadable=skip) for name, folder in folders.items()
    }


def _trained(split_file: Path) -> dict[str, list[Path]]:
    """The files that the run has trained on, where its folder says so."""
    from advbg.benchmark.files import read_json

    split = read_json(split_file) if split_file.is_file() else {}
    if not split.keys() >= {"training", "photographs", "directory"}:
        _remark(f"no {split_file} of `advbg train` says what was trained on: whether that is tested, is not known")
        return {}
    parts = {"the images of the run": split["training"], "the photographs of the run": split["photographs"]}
    trained = {what: [Path(split["directory"], file) for file in files] for what, files in parts.items()}
    if gone := [str(file) for files in trained.values() for file in files if not file.is_file()]:
        _remark(f"of what was trained on, {len(gone)} files are not there to be compared: {name_some(gone)}")
    return trained


def _remark(text: str) -> None:
    # Not among the figures, which may be read by a program.
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


def _table(measured: dict[str, Any], title: str) -> Table:
    table = Table("images", "n", "accuracy (%)", "95 %", title=escape(title))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, rated in measured.items():
        low, high = rated["interval"]
        table.add_row(escape(name), str(rated["n"]), f"{rated['accuracy']:.1f}", f"{low:.1f} to {high:.1f}")
    return table

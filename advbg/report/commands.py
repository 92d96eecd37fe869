"""The command `advbg report`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from advbg.command_line import mendable, some_path


def report(
    run: Annotated[Path, typer.Argument(parser=some_path, help="Folder of a finished `advbg train`.")],
    against: Annotated[
        list[Path] | None,
        typer.Option(parser=some_path, metavar="RUN", help="Another run to compare with; may be given again."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            parser=some_path, metavar="FILE.html", help="The page; `report.html` in the run's folder by default."
        ),
    ] = None,
) -> None:
    """Write one self-contained page about a run: accuracy, composites over the training, the worst failures."""
    from advbg.report.page import write_report
    from advbg.report.runs import read_runs

    path = output or run / "report.html"
    with mendable():
        runs = read_runs(run, against or [])
        if not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"the folder of `output` (={str(path)!r}) does not exist")
        write_report(runs, path)
    Console().print(f"Report: [bold]{escape(str(path))}[/bold]", soft_wrap=True)

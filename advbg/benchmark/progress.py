"""What a long training shows on a terminal, and how it keeps its pace."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from advbg.benchmark.training import Progress


@runtime_checkable
class Report(Protocol):
    """What is called after every step."""

    def __call__(self, progress: Progress, run: str = "") -> None:
        """Show where a training is; `run` tells it from others of the same method."""
        ...


@contextmanager
def flushing_denormals() -> Iterator[None]:
    """Take denormal numbers for zero: saturated networks make them, and they cost CPUs several times the seconds."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def progress_bar(console: Console) -> Iterator[Report]:
    """Show a bar for each row: what it yields is called after every step."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<21}"),
        BarColumn(bar_width=10),
        MofNCompleteColumn(),
        TextColumn("{task.fields[losses]:<22}"),
        TimeRemainingColumn(),
    )
    tasks: dict[tuple[str, str], TaskID] = {}
    with ProgressBar(*columns, console=console) as bar:

        def report(progress: Progress, run: str = "") -> None:
            key, label = (run, progress.method), f"{run} {progress.method}".strip()
            if key not in tasks:
                tasks[key] = bar.add_task(label, total=progress.total_steps, losses="")
            mask = f", mask {progress.mask_loss:.3f}" if progress.phase == "mask" and progress.mask_loss else ""
            bar.update(
                tasks[key],
                completed=progress.step,
                description=f"{label}: {progress.phase}",
                losses=f"loss {progress.loss:.3f}{mask}",
            )

        yield report

"""What the commands share: their arguments, their mistakes and their folders."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import typer
from typer.exceptions import TyperException

WRONG_USAGE = 2
_INTERRUPTED = 130
RUNS = Path("runs")


class UserError(TyperException):
    """Something that the user can mend; shown as one line."""

    exit_code = WRONG_USAGE


@contextmanager
def mendable() -> Iterator[None]:
    """Within the context, what is wrong is wrong with the arguments, the files they name, or what is installed."""
    try:
        yield
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        raise UserError(str(error)) from error


@contextmanager
def resumable() -> Iterator[None]:
    """Within the context, a training runs: Ctrl-C says how to go on, and a file that is at fault is named."""
    from advbg.files import DamagedStateError

    with stoppable("stopped; the same command with --resume goes on after the last whole epoch"):
        try:
            yield
        except (DamagedStateError, OSError) as error:
            raise UserError(str(error)) from error


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Within the context, Ctrl-C ends the command with a message and the exit code of an interrupt."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"advbg: {message}", file=sys.stderr)
        raise typer.Exit(_INTERRUPTED) from None


def some_path(text: str | Path) -> Path:
    """Read a path, or take a default; an empty one, as of an unset shell variable, would be the current folder."""
    if text == "":
        raise typer.BadParameter("must not be empty")
    return Path(text)


def parse_epochs(text: str) -> tuple[int, int, int]:
    """Read what `--epochs` takes."""
    try:
        first, second, third = (int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"`epochs` (={text!r}) must be three whole numbers, such as 4,3,16") from None
    return first, second, third


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read seeds such as `0,1,2`."""
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"`seeds` (={text!r}) must be whole numbers, such as 0,1,2") from None
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"`seeds` (={text!r}) must be different numbers, 0 or more")
    return seeds


def run_folder(name: str, *, resume: bool) -> Path:
    """The newest run's folder to resume, else the next free one."""
    numbers = (path.name.removeprefix(f"{name}-") for path in RUNS.glob(f"{name}-*"))
    taken = sorted(int(number) for number in numbers if number.isdecimal())
    newest = taken[-1] if taken else 0
    return RUNS / f"{name}-{newest if resume and taken else newest + 1:03d}"


def claim_folder(name: str) -> Path:
    """Make the next free folder of a run, whoever else is looking for one."""
    RUNS.mkdir(exist_ok=True)
    while True:
        path = run_folder(name, resume=False)
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path


def load_state(file: Path) -> dict[str, object]:
    """Read a saved state of companions."""
    if not file.is_file():
        raise FileNotFoundError(f"`companions` (={str(file)!r}) does not exist")
    try:
        return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:
        raise ValueError(f"`companions` (={str(file)!r}) is damaged or no saved state") from error

"""What a demonstration is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from advbg.benchmark.training import Progress

# The rows of every demonstration.
METHODS = ("baseline", "proposal")


@runtime_checkable
class Demonstration(Protocol):
    """A task learned before one background and tested before others.

    Attributes:
        name: of the task.
        measure: what is measured, and its unit.
        higher_is_better: whether more of it is.
        description: of data, model and test, for the page that shows the figures.
    """

    name: str
    measure: str
    higher_is_better: bool
    description: str

    def settings(self) -> dict[str, Any]:
        """What a run that goes on must have in common, for `settings.json`."""
        ...

    def train_and_test(
        self, method: str, seed: int, state_file: Path, report: Callable[[Progress], None]
    ) -> dict[str, Any]:
        """Train, going on from `state_file` where there is one, and test.

        Args:
            method: one of `METHODS`.
            seed: of everything random in the training.
            state_file: where the training is kept.
            report: called after every step.

        Returns:
            `clean`: the measure before the background of the training; `changed`: the same before other backgrounds, by
            their names; `seconds` of training, and `phase_seconds`, those of each phase; more where there is more.

        Raises:
            DamagedStateError: where `state_file` is damaged or of another run.
        """
        ...

    def draw(self, seed: int, state_files: dict[str, Path], path: Path) -> None:
        """Draw examples of what the trained rows do.

        Args:
            seed: of the trainings.
            state_files: of each method, at the end of its training.
            path: of the PNG.
        """
        ...


def finished_seeds(results: dict[str, Any]) -> dict[str, Any]:
    """The seeds that have both rows: a run that was stopped and goes on with fewer seeds may leave one with one."""
    return {seed: rows for seed, rows in results["seeds"].items() if all(method in rows for method in METHODS)}

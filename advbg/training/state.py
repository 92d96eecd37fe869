"""Where a training stands after whole epochs, in a file from which it goes on bit for bit (on CPUs)."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from advbg.files import DamagedStateError, save_state
from advbg.training.settings import FitSettings

if TYPE_CHECKING:
    from advbg.training.data import TrainingData
    from advbg.training.fit import Fitted


def steps_taken(file: Path) -> int:
    """How many steps were taken before a state was saved.

    Args:
        file: that `FitState` wrote; where there is none, or it is damaged, which `load` says, no step was.
    """
    try:
        history = torch.load(file, weights_only=True, map_location="cpu", mmap=True)["history"]
        return sum(sum(epoch["steps"].values()) for epoch in history)
    except Exception:  # whatever a damaged file can raise
        return 0


class FitState:
    """Everything of a training that changes. Nothing of the random streams does: each epoch seeds its own.

    Args:
        fitted: the model, with what is measured about its training.
        data: the images.
        settings: of the training.
        parts: the model's optimiser and scheduler.
    """

    def __init__(self, fitted: "Fitted", data: "TrainingData", settings: FitSettings, **parts: Any) -> None:
        self.fitted = fitted
        self.parts: dict[str, Any] = {"model": fitted.model, **parts}
        if fitted.wrapper is not None:
            self.parts["companions"] = fitted.wrapper.companions
        shapes = [list(images.shape) for images in (data.images, data.held_out_images)]
        self.made_for = {"settings": asdict(settings), "images": shapes, "model": type(fitted.model).__name__}

    def save(self, file: Path) -> None:
        """Write the state after whole epochs."""
        state = {
            "made_for": self.made_for,
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "history": self.fitted.history,
            "phase_seconds": self.fitted.phase_seconds,
            "best_epoch": self.fitted.best_epoch,
            "best_weights": self.fitted.best_weights,
            "first_weights": self.fitted.first_weights,
        }
        save_state(state, file)

    def load(self, file: Path) -> None:
        """Go on from a file, or begin where there is none.

        Raises:
            DamagedStateError: where the file is damaged or of another training.
        """
        if not file.exists():
            return
        try:
            state = torch.load(file, weights_only=True, map_location="cpu")
            made_for = state["made_for"]
        except Exception as error:
            raise DamagedStateError(f"{file} is damaged: remove it to begin again") from error
        for name, ours in self.made_for.items():
            if made_for.get(name) != ours:
                raise DamagedStateError(f"{file} is of a training with `{name}` {made_for.get(name)!r}, not {ours!r}")
        try:
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
        except Exception as error:
            raise DamagedStateError(f"{file} is of another training: remove it to begin again") from error
        self.fitted.history, self.fitted.phase_seconds = state["history"], state["phase_seconds"]
        self.fitted.best_epoch, self.fitted.best_weights = state["best_epoch"], state["best_weights"]
        self.fitted.first_weights = state["first_weights"]

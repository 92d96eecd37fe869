"""Where a training stands, in a file from which it goes on bit for bit."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from advbg.files import DamagedStateError, save_state

if TYPE_CHECKING:
    from advbg.benchmark.training import Trained


class TrainingState:
    """Everything of a training that changes.

    Args:
        trained: the model, with what is measured about its training.
        optimizer: of the model.
        scheduler: of the optimiser.
        order: draws the order of the images.
    """

    def __init__(
        self,
        trained: "Trained",
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        order: torch.Generator,
    ) -> None:
        self.trained, self.order = trained, order
        self.parts: dict[str, Any] = {"model": trained.model, "optimizer": optimizer, "scheduler": scheduler}
        if trained.wrapper is not None:
            self.parts["companions"] = trained.wrapper.companions

    def save(self, file: Path, epochs_done: int) -> None:
        """Write the state after whole epochs."""
        state = {
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "order": self.order.get_state(),
            "epochs_done": epochs_done,
            "seconds": self.trained.seconds,
            "snapshots": self.trained.snapshots,
        }
        save_state(state, file)

    def load(self, file: Path, shared: Path | None, images: Tensor) -> int:
        """Go on from a file, else from the end of the mask phase of another method, else begin.

        Args:
            file: of this training.
            shared: of a training whose first two phases are this one's, or None.
            images: to build companions for.

        Returns:
            How many epochs are done.

        Raises:
            DamagedStateError: where a file is damaged or of another run.
        """
        for path, load in ((file, self._load_parts), (shared, lambda parts: self._load_first_phases(parts, images))):
            if path is not None and path.exists():
                try:
                    state = torch.load(path, weights_only=True)
                    load(state["parts"])
                except Exception as error:
                    raise DamagedStateError(
                        f"{path} is damaged or of another run: remove it to train this row again"
                    ) from error
                self.order.set_state(state["order"])
                self.trained.seconds, self.trained.snapshots = state["seconds"], list(state["snapshots"])
                return state["epochs_done"]
        return 0

    def _load_parts(self, parts: dict[str, Any]) -> None:
        for name, part in self.parts.items():
            part.load_state_dict(parts[name])

    def _load_first_phases(self, parts: dict[str, Any], images: Tensor) -> None:
        """Take all but the background source and its random stream, which nothing has been drawn from yet."""
        for name in ("model", "optimizer", "scheduler"):
            self.parts[name].load_state_dict(parts[name])
        companions, saved = self.parts["companions"], parts["companions"]
        companions.build(images[:1])
        prefix = "mask_generator."
        companions.mask_generator.load_state_dict(
            {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}
        )
        companions.mask_optimizer.load_state_dict(saved["_extra_state"]["optimizers"][0])
        companions.step_count = saved["_extra_state"]["step_count"]

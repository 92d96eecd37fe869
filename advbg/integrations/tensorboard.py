"""TensorBoard, on the hooks that anybody may use."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor
from torchvision.utils import make_grid

from advbg.hooks import hookimpl, plugin_manager
from advbg.schedule import PHASES, Phase

if TYPE_CHECKING:
    from advbg.companions import Companions


class TensorBoardLogger:
    """Writes the scalars and pictures of trainings to TensorBoard while it is registered.

    `with TensorBoardLogger(log_dir):` registers it and unregisters it; or `plugin_manager.register(logger)`, and
    `close()` after training. Tags are `advbg/phase` (0, 1, 2), `advbg/` and the name of each scalar of the hook
    `advbg_step`, and `advbg/images`, `advbg/masks` and `advbg/composites`.

    Args:
        log_dir: where the event file goes; made where it is not there.
        every: optimiser steps between two rows and two pictures, 1 or more. Only these wait for the GPU.
        shown_images: of a batch, at most.
        purge_step: for a training that goes on: the first step that it takes. What is in the folder of this step and of
            later ones is of steps that were lost, and not shown.

    Raises:
        ImportError: where TensorBoard is not installed.
        ValueError: where `every` or `shown_images` is under 1 or not whole.
    """

    def __init__(
        self, log_dir: str | Path, every: int = 50, *, shown_images: int = 8, purge_step: int | None = None
    ) -> None:
        for name, value in (("every", every), ("shown_images", shown_images)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"`{name}` (={value!r}) must be a whole number, 1 or more")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("`TensorBoardLogger` needs TensorBoard: `pip install advbg[tensorboard]`") from error
        self.every, self.shown_images, self._drawn = every, shown_images, False
        self.writer = SummaryWriter(str(log_dir), purge_step=purge_step)

    def __enter__(self) -> "TensorBoardLogger":
        plugin_manager.register(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unregister, write what is left and close the file."""
        if plugin_manager.is_registered(self):
            plugin_manager.unregister(self)
        self.writer.close()

    @hookimpl
    def advbg_phase_changed(self, phase: Phase, step: int) -> None:
        """Write each change of the phase, whatever the step."""
        self.writer.add_scalar("advbg/phase", PHASES.index(phase), step)

    @hookimpl
    def advbg_step(self, phase: Phase, step: int, scalars: Mapping[str, Tensor]) -> None:
        """Write the phase and the scalars of every so many steps."""
        self._drawn = False
        if step % self.every == 0:
            self.writer.add_scalar("advbg/phase", PHASES.index(phase), step)
            for name, value in scalars.items():
                self.writer.add_scalar(f"advbg/{name}", value.item(), step)

    @hookimpl
    def advbg_composite(
        self,
        companions: "Companions",
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        composites: Float[Tensor, "batch channel height width"],
    ) -> None:
        """Draw the first images of the batch, their masks and composites, in every so many steps."""
        step = companions.step_count + 1
        # Gradients may be accumulated over several batches of one step.
        if step % self.every == 0 and not self._drawn:
            self._drawn = True
            to_pixels = companions.pixel_space.to_pixels
            pictures = {"images": to_pixels(images), "masks": mask, "composites": to_pixels(composites)}
            for name, batch in pictures.items():
                self.writer.add_image(f"advbg/{name}", _grid(batch[: self.shown_images]), step)


def _grid(pixels: Float[Tensor, "count channel height width"]) -> Float[Tensor, "3 rows columns"]:
    """One colour picture, which TensorBoard clips; of other numbers of channels than 3 the mean is shown."""
    colors = pixels.float() if pixels.shape[1] == 3 else pixels.float().mean(dim=1, keepdim=True)
    return make_grid(colors, nrow=4)

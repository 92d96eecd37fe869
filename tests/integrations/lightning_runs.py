"""Short runs of Lightning, with the companions and without."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from advbg import Schedule
from tests.models import a_batch, tiny_classifier

lightning = pytest.importorskip("lightning")

from advbg.integrations.lightning import AdversarialBackgroundCallback  # noqa: E402

MARKS = [
    # Lightning's own use of torch.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
    # What Lightning thinks of this machine and of so short a run.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
SCHEDULE = Schedule(classifier=2, mask=2)


class Module(lightning.LightningModule):
    """A classifier that keeps its losses."""

    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_classifier(batch_norm=True)
        self.losses: list[float] = []
        self.fail_at = -1

    def training_step(self, batch: list[Tensor]) -> Tensor:
        if self.global_step == self.fail_at:
            raise RuntimeError("out of luck")
        images, targets = batch
        loss = nn.functional.cross_entropy(self.model(images), targets)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class ValidatedModule(Module):
    """The same with a validation."""

    def validation_step(self, batch: list[Tensor]) -> None:
        images, targets = batch
        self.log("validation_loss", nn.functional.cross_entropy(self.model(images), targets))


def a_trainer(folder: Path, callback: Any | None, epochs: int, **options: Any) -> Any:
    """A silent trainer on the CPU."""
    defaults = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [] if callback is None else [callback]
    return lightning.Trainer(
        **(defaults | options),
        max_epochs=epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        enable_checkpointing=False,
    )


def a_loader(batches: int = 1) -> DataLoader:
    """The same images in the same order, eight a batch."""
    images, targets = a_batch(count=8 * batches)
    return DataLoader(TensorDataset(images, targets), batch_size=8)


def fit(
    folder: Path, callback: Any | None, epochs: int, *, batches: int = 1, checkpoint: Path | None = None, **options: Any
) -> tuple[Any, Module]:
    """Train a new module."""
    trainer, module = a_trainer(folder, callback, epochs, **options), Module()
    trainer.fit(module, a_loader(batches), ckpt_path=checkpoint)
    return trainer, module


def a_callback(**options: Any) -> AdversarialBackgroundCallback:
    """Ours, with phases of two steps."""
    return AdversarialBackgroundCallback(**({"schedule": SCHEDULE} | options))

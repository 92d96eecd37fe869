"""Train one row of a table: a plain loop, saved after every epoch."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor

from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.methods import METHODS
from advbg.files import write_atomically
from advbg.schedule import Schedule
from advbg.wrapper import AdversarialBackground

BATCH_SIZE = 32
LEARNING_RATE = 1e-3

# Moments of the adversarial phase at which the backgrounds are kept for the figure.
_SNAPSHOTS = (0.0, 0.25, 0.5, 0.75, 1.0)


class DamagedStateError(RuntimeError):
    """A saved state that a training cannot go on from."""


@dataclass(frozen=True)
class Progress:
    """Where a training is, for whoever shows it.

    Attributes:
        method: name of the row.
        phase: the wrapper's phase; `plain` for the baseline.
        step: optimiser steps so far.
        total_steps: of the whole training.
        loss: of the last batch.
        mask_loss: of the last batch of the mask phase, or None.
    """

    method: str
    phase: str
    step: int
    total_steps: int
    loss: float
    mask_loss: float | None


@dataclass
class Trained:
    """What a training leaves behind.

    Attributes:
        model: the classifier, in evaluation mode.
        wrapper: around it, or None for the baseline.
        seconds: of training, over all the sessions that it took.
        snapshots: (step, backgrounds of shape (8, channel, height, width) in [0, 1]) over the adversarial phase.
    """

    model: PaperClassifier
    wrapper: AdversarialBackground | None
    seconds: float = 0.0
    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)


def train(
    method: str,
    dataset: ImageDataset,
    epochs: tuple[int, int, int],
    seed: int,
    state_file: Path,
    report: Callable[[Progress], None],
) -> Trained:
    """Train the paper's classifier, going on from `state_file` where there is one.

    Every method takes the same number of optimiser steps and sees the images in the same order.

    Args:
        method: one of `METHODS`.
        dataset: the images.
        epochs: of the classifier, mask and adversarial phase.
        seed: of everything random.
        state_file: written after every epoch.
        report: called after every step.

    Raises:
        DamagedStateError: where `state_file` is damaged or of another run.
    """
    steps_per_epoch = -(-len(dataset.train_images) // BATCH_SIZE)
    total_steps = sum(epochs) * steps_per_epoch
    trained = _start(method, dataset, (epochs[0] * steps_per_epoch, epochs[1] * steps_per_epoch), seed)
    forward = trained.wrapper or trained.model
    optimizer = create_optimizer_v2(forward, opt="adam", lr=LEARNING_RATE, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * LEARNING_RATE, total_steps=total_steps)
    if trained.wrapper is not None:
        trained.wrapper.attach(optimizer)
    order = torch.Generator().manual_seed(seed)
    parts = {"model": trained.model, "optimizer": optimizer, "scheduler": scheduler}
    if trained.wrapper is not None:
        parts["companions"] = trained.wrapper.companions
    first = _load(state_file, parts, order, trained) if state_file.exists() else 0
    forward.train()
    for epoch in range(first, sum(epochs)):
        began = time.perf_counter()
        for index, (images, targets) in enumerate(_batches(dataset, order)):
            loss = F.cross_entropy(forward(images), targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            step = epoch * steps_per_epoch + index + 1
            report(_progress(method, trained, step, total_steps, loss))
            _keep_backgrounds(trained, dataset, step, total_steps)
        trained.seconds += time.perf_counter() - began
        _save(state_file, parts, order, trained, epoch + 1)
    forward.eval()
    return trained


def _start(method: str, dataset: ImageDataset, phases: tuple[int, int], seed: int) -> Trained:
    channels, image_size = dataset.train_images.shape[1:3]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PaperClassifier(image_size=image_size, channels=channels, classes=len(dataset.class_names))
    # A quarter faster on CPUs than the default layout.
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    options = METHODS[method]
    if options is None:
        return Trained(model, None)
    schedule = Schedule(classifier=phases[0], mask=phases[1])
    return Trained(model, AdversarialBackground(model, schedule=schedule, seed=seed, **options))


def _batches(dataset: ImageDataset, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    shuffled = torch.randperm(len(dataset.train_images), generator=order)
    for indices in shuffled.split(BATCH_SIZE):
        yield dataset.train_images[indices], dataset.train_targets[indices]


def _progress(method: str, trained: Trained, step: int, total_steps: int, loss: Tensor) -> Progress:
    if trained.wrapper is None:
        return Progress(method, "plain", step, total_steps, loss.item(), None)
    companions = trained.wrapper.companions
    mask_loss = companions.mask_loss.item() if companions.mask_loss is not None else None
    return Progress(method, companions.phase, step, total_steps, loss.item(), mask_loss)


@torch.no_grad()
def _keep_backgrounds(trained: Trained, dataset: ImageDataset, step: int, total_steps: int) -> None:
    if trained.wrapper is None:
        return
    schedule = trained.wrapper.companions.options.schedule
    start = schedule.classifier + schedule.mask
    if step in {start + round(share * (total_steps - start)) for share in _SNAPSHOTS}:
        channels, height, width = dataset.train_images.shape[1:]
        generator = torch.Generator().manual_seed(step)
        backgrounds = trained.wrapper.companions.source.sample(8, (channels, height, width), generator)
        trained.snapshots.append((step, backgrounds))


def _save(file: Path, parts: dict[str, Any], order: torch.Generator, trained: Trained, epochs_done: int) -> None:
    state = {
        "parts": {name: part.state_dict() for name, part in parts.items()},
        "order": order.get_state(),
        "epochs_done": epochs_done,
        "seconds": trained.seconds,
        "snapshots": trained.snapshots,
    }
    with write_atomically(file) as temporary:
        torch.save(state, temporary)


def _load(file: Path, parts: dict[str, Any], order: torch.Generator, trained: Trained) -> int:
    try:
        state = torch.load(file, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state["parts"][name])
    except Exception as error:
        raise DamagedStateError(f"{file} is damaged or of another run: remove it to train this row again") from error
    order.set_state(state["order"])
    trained.seconds, trained.snapshots = state["seconds"], list(state["snapshots"])
    return state["epochs_done"]

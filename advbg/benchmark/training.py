"""Train one row of a table: a plain loop, saved after every epoch."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from advbg.benchmark.attention import AttentionClassifier
from advbg.benchmark.augmentation import PaperAugmentation
from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.methods import companion_options
from advbg.benchmark.training_state import TrainingState
from advbg.schedule import Schedule
from advbg.wrapper import AdversarialBackground

LEARNING_RATE = 1e-3

# Moments of the adversarial phase at which the backgrounds are kept for the figure; the paper's are 1, 10, 20, 30 and
# 40 of 40 epochs.
_SNAPSHOTS = (0.025, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Recipe:
    """How the rows of a run are trained, the same for each.

    Args:
        epochs: of the classifier, mask and adversarial phase.
        batch_size: images in a step.
        seed: of everything random.
        bfloat16: whether to train under autocast to bfloat16.
        augmentation: whether to augment the training images as the paper does.
        photographs: folder for the row `photographs`.
    """

    epochs: tuple[int, int, int]
    batch_size: int
    seed: int
    bfloat16: bool = False
    augmentation: bool = False
    photographs: Path | None = None


@dataclass(frozen=True)
class Progress:
    """Where a training is, for whoever shows it.

    Attributes:
        method: name of the row.
        phase: the wrapper's phase; `plain` without companions.
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
        model: in evaluation mode.
        wrapper: around it, or None for a row without companions.
        seconds: of training for each phase, over all the sessions that it took; those of `plain` without companions.
        snapshots: (step, backgrounds of shape (8, channel, height, width) in [0, 1]) over the adversarial phase.
    """

    model: nn.Module
    wrapper: AdversarialBackground | None
    seconds: dict[str, float] = field(default_factory=dict)
    snapshots: list[tuple[int, Tensor]] = field(default_factory=list)

    @property
    def phase(self) -> str:
        """The wrapper's phase; `plain` without companions."""
        return self.wrapper.phase if self.wrapper is not None else "plain"


def train(
    method: str,
    dataset: ImageDataset,
    recipe: Recipe,
    state_file: Path,
    report: Callable[[Progress], None],
    *,
    shared_file: Path | None = None,
) -> Trained:
    """Train the paper's classifier, going on from `state_file` where there is one.

    Every method takes the same number of optimiser steps and sees the images in the same order.

    Args:
        method: one of `METHODS`.
        dataset: the images.
        recipe: how to train.
        state_file: written after every epoch.
        report: called after every step.
        shared_file: where methods with the same masks keep the end of the mask phase, which is the same for all of
            them: the first one writes it, the others begin there, and count the seconds that it took.

    Raises:
        DamagedStateError: where a file is damaged or of another run.
    """
    steps_per_epoch = -(-len(dataset.train_images) // recipe.batch_size)
    total_steps = sum(recipe.epochs) * steps_per_epoch
    trained = _start(method, dataset, recipe, steps_per_epoch)
    forward = trained.wrapper or trained.model
    optimizer = create_optimizer_v2(forward, opt="adam", lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * LEARNING_RATE, total_steps=total_steps)
    if trained.wrapper is not None:
        trained.wrapper.attach(optimizer)
    order = torch.Generator().manual_seed(recipe.seed)
    state = TrainingState(trained, optimizer, scheduler, order)
    shared = shared_file if trained.wrapper is not None else None
    first = state.load(state_file, shared, dataset.train_images)
    before_adversaries = sum(recipe.epochs[:2])
    forward.train()
    for epoch in range(first, sum(recipe.epochs)):
        if isinstance(trained.model, AttentionClassifier) and epoch == before_adversaries:
            trained.model.attend()
        began, phase = time.perf_counter(), trained.phase
        for index, (images, targets) in enumerate(_batches(dataset, recipe, order, epoch)):
            loss = _step(trained, images, targets, recipe, optimizer, scheduler)
            step = epoch * steps_per_epoch + index + 1
            report(_progress(method, trained, step, total_steps, loss))
            _keep_backgrounds(trained, dataset, step, total_steps)
        trained.seconds[phase] = trained.seconds.get(phase, 0.0) + time.perf_counter() - began
        state.save(state_file, epoch + 1)
        if shared is not None and epoch + 1 == before_adversaries:
            state.save(shared, epoch + 1)
    forward.eval()
    return trained


def _step(
    trained: Trained,
    images: Tensor,
    targets: Tensor,
    recipe: Recipe,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
) -> Tensor:
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bfloat16):
        outputs = trained.model(images) if trained.wrapper is None else trained.wrapper(images, targets=targets)
        loss = F.cross_entropy(outputs, targets)
    loss.backward()
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
    return loss


def _start(method: str, dataset: ImageDataset, recipe: Recipe, steps_per_epoch: int) -> Trained:
    channels, image_size = dataset.train_images.shape[1:3]
    kind = AttentionClassifier if method == "attention" else PaperClassifier
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = kind(image_size=image_size, channels=channels, classes=len(dataset.class_names))
    # A quarter faster on CPUs than the default layout.
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    options = companion_options(method, recipe.photographs)
    if options is None:
        return Trained(model, None)
    schedule = Schedule(classifier=recipe.epochs[0] * steps_per_epoch, mask=recipe.epochs[1] * steps_per_epoch)
    return Trained(model, AdversarialBackground(model, schedule=schedule, seed=recipe.seed, **options))


def _batches(
    dataset: ImageDataset, recipe: Recipe, order: torch.Generator, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    shuffled = torch.randperm(len(dataset.train_images), generator=order)
    # A stream of its own for every epoch, so that a run that goes on draws what an unbroken one does.
    augment = PaperAugmentation(seed=1000 * recipe.seed + epoch) if recipe.augmentation else None
    for indices in shuffled.split(recipe.batch_size):
        images = dataset.train_images[indices]
        yield augment(images) if augment else images, dataset.train_targets[indices]


def _progress(method: str, trained: Trained, step: int, total_steps: int, loss: Tensor) -> Progress:
    mask_loss: Any = trained.wrapper.companions.mask_loss if trained.wrapper is not None else None
    mask_loss = mask_loss.item() if mask_loss is not None else None
    return Progress(method, trained.phase, step, total_steps, loss.item(), mask_loss)


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

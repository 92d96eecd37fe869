"""Train a model on batches that a problem makes, and go on bit for bit."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from advbg.benchmark.demonstrations.protocol import METHODS
from advbg.benchmark.training import Progress, Trained
from advbg.benchmark.training_state import TrainingState
from advbg.schedule import Schedule
from advbg.wrapper import AdversarialBackground

_LEARNING_RATE = 2e-3


@dataclass(frozen=True)
class Recipe:
    """How both rows are trained.

    Args:
        epochs: of the classifier, mask and adversarial phase.
        batch_size: images in a step.
        bfloat16: whether to train under autocast to bfloat16.

    Raises:
        ValueError: where an argument is out of range; the message names it.
    """

    epochs: tuple[int, int, int]
    batch_size: int
    bfloat16: bool

    def __post_init__(self) -> None:
        if len(self.epochs) != 3 or min(self.epochs) < 0 or max(self.epochs) < 1:
            raise ValueError(f"`epochs` (={self.epochs}) must be three whole numbers, 0 or more, not all 0")
        if self.batch_size < 1:
            raise ValueError(f"`batch_size` (={self.batch_size}) must be 1 or more")


@runtime_checkable
class Problem(Protocol):
    """What is to be learned.

    Attributes:
        name: of the task, as `AdversarialBackground(task=...)` takes it.
        options: of `AdversarialBackground`, beside its defaults.
        train_images: pixels in [0, 1], white on black.
    """

    name: str
    options: dict[str, Any]
    train_images: Float[Tensor, "train channel height width"]

    def make_model(self) -> nn.Module:
        """A model with weights drawn from the global random stream."""
        ...

    def make_batch(
        self, indices: Int[Tensor, "batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch channel height width"], Tensor]:
        """Training images by their indices, and their targets."""
        ...

    def loss(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """What training makes small."""
        ...


def prepare(problem: Problem, method: str, seed: int, recipe: Recipe) -> tuple[Trained, TrainingState]:
    """Make model, wrapper, optimiser and scheduler.

    Raises:
        ValueError: where the method is none of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"`method` (={method!r}) must be one of {', '.join(METHODS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = problem.make_model().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    steps = _steps_per_epoch(problem, recipe)
    wrapper = None
    if method == "proposal":
        schedule = Schedule(classifier=recipe.epochs[0] * steps, mask=recipe.epochs[1] * steps)
        wrapper = AdversarialBackground(model, task=problem.name, schedule=schedule, seed=seed, **problem.options)
    optimizer = create_optimizer_v2(model, opt="adam", lr=_LEARNING_RATE, weight_decay=0.0, fused=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, total_steps=sum(recipe.epochs) * steps)
    if wrapper is not None:
        wrapper.attach(optimizer)
    trained = Trained(model, wrapper)
    return trained, TrainingState(trained, optimizer, scheduler, torch.Generator().manual_seed(seed))


def train(
    problem: Problem,
    method: str,
    seed: int,
    recipe: Recipe,
    state_file: Path,
    report: Callable[[Progress], None],
) -> Trained:
    """Train a row, going on from `state_file`, which is written after every epoch.

    Args:
        problem: what to learn.
        method: one of `METHODS`.
        seed: of everything random.
        recipe: how to train.
        state_file: where the training is kept.
        report: called after every step.

    Raises:
        DamagedStateError: where `state_file` is damaged or of another run.
        ValueError: where the method is none of `METHODS`.
    """
    trained, state = prepare(problem, method, seed, recipe)
    steps, total = _steps_per_epoch(problem, recipe), sum(recipe.epochs)
    first = state.load(state_file, None, problem.train_images)
    forward: Any = trained.wrapper or trained.model
    forward.train()
    for epoch in range(first, total):
        began, phase = time.perf_counter(), trained.phase
        shuffled = torch.randperm(len(problem.train_images), generator=state.order)
        for index, indices in enumerate(shuffled.split(recipe.batch_size)):
            loss = _step(problem, trained, state, indices, recipe)
            mask_loss = trained.wrapper.companions.mask_loss if trained.wrapper is not None else None
            step = epoch * steps + index + 1
            mask_loss = mask_loss.item() if mask_loss is not None else None
            report(Progress(method, trained.phase, step, total * steps, loss.item(), mask_loss))
        trained.seconds[phase] = trained.seconds.get(phase, 0.0) + time.perf_counter() - began
        state.save(state_file, epoch + 1)
    forward.eval()
    return trained


def _step(problem: Problem, trained: Trained, state: TrainingState, indices: Tensor, recipe: Recipe) -> Tensor:
    images, targets = problem.make_batch(indices, state.order)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.bfloat16):
        if trained.wrapper is None:
            outputs = trained.model(images)
        else:
            outputs = trained.wrapper(images, targets=targets)
            targets = trained.wrapper.targets
    loss = problem.loss(outputs.float(), targets)
    loss.backward()
    state.parts["optimizer"].step()
    state.parts["scheduler"].step()
    state.parts["optimizer"].zero_grad()
    return loss


def _steps_per_epoch(problem: Problem, recipe: Recipe) -> int:
    return -(-len(problem.train_images) // recipe.batch_size)

"""Train a model on images in memory, with or without the method."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from advbg.attachment import device_of
from advbg.batch_norm import hold_statistics
from advbg.benchmark.training import Progress
from advbg.pixel_space import PixelSpace
from advbg.schedule import PHASES
from advbg.training.augmentation import MildAugmentation
from advbg.training.data import TrainingData
from advbg.training.gentle import fit_classifier, interpolate_weights, interpolated
from advbg.training.masks import quick_masks, takes_small_images, teach_first_guess
from advbg.training.memory_format import use_channels_last
from advbg.training.settings import FitSettings
from advbg.training.state import FitState
from advbg.training.testing import accuracy, predict
from advbg.training.tunings import GENTLE
from advbg.wrapper import AdversarialBackground

_WEIGHT_DECAY = 0.05
_LABEL_SMOOTHING = 0.1

# In `phase_seconds`: before the first of them.
_FIRST_GUESS, _CLASSIFIER_ALONE = "first guess", "classifier alone"


@dataclass
class Fitted:
    """What a training leaves behind.

    Attributes:
        model: with the weights of the last epoch, in evaluation mode.
        wrapper: around it, or None for a method without companions.
        history: for each epoch its losses, accuracy in percent, phases with their steps, and seconds.
        phase_seconds: of training steps for each phase, over all sessions; those of `plain` without companions. Before
            them, what came before the first step: `classifier alone`, `first guess`.
        best_epoch: number of the epoch with the highest held-out accuracy, from 1; the latest of several. Only epochs
            that end in the adversarial phase count: before, the model has met no other background.
        best_weights: the model's state after it, on the CPU.
        first_weights: the model's state before the first step of a gentle training; empty otherwise.
    """

    model: nn.Module
    wrapper: AdversarialBackground | None
    history: list[dict[str, Any]] = field(default_factory=list)
    phase_seconds: dict[str, float] = field(default_factory=dict)
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    first_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def phase(self) -> str:
        """The wrapper's phase; `plain` without companions."""
        return self.wrapper.phase if self.wrapper is not None else "plain"

    @property
    def seconds(self) -> float:
        """Of the whole training: what comes before the first step, and epochs with their tests on what is held out."""
        before = sum(self.phase_seconds.get(part, 0.0) for part in (_CLASSIFIER_ALONE, _FIRST_GUESS))
        return before + sum(epoch["seconds"] for epoch in self.history)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Batches of one epoch: of equal size, `batch_size` or more, so that none is nearly empty; never twice as many."""
    return max(1, images // batch_size)


def check_length(settings: FitSettings, images: int) -> None:
    """Check that a training on so many images has a step for each of its phases, and more than one.

    Raises:
        ValueError: where it has not.
    """
    steps = settings.epochs * steps_per_epoch(images, settings.batch_size)
    if settings.companion_options() is not None and steps < len(PHASES):
        raise ValueError(
            f"`epochs` (={settings.epochs}) of {images} images in batches of `batch_size` (={settings.batch_size}) are "
            f"{steps} steps, but there are {len(PHASES)} phases: pass more epochs or smaller batches"
        )
    if steps < 2:
        raise ValueError(
            f"`epochs` (={settings.epochs}) of {images} images in batches of `batch_size` (={settings.batch_size}) are "
            "a single step, at the end of whose cycle the learning rate is 0: pass more epochs or smaller batches"
        )


def fit(
    model: nn.Module,
    data: TrainingData,
    settings: FitSettings,
    *,
    state_file: Path | None = None,
    report: Callable[[Progress], None] | None = None,
    after_epoch: Callable[[Fitted], None] | None = None,
) -> Fitted:
    """Train a model with AdamW and one cycle of the learning rate.

    Every method takes the same number of optimiser steps over the same images in the same order. The global random
    stream is as it was before.

    Args:
        model: from normalised colour images to logits, on the device to train on. timm's `pretrained_cfg` says how
            images are normalised; without it they are pixels in [0, 1].
        data: the images.
        settings: how to train.
        state_file: written after every epoch, and read where it is there, to go on bit for bit.
        report: called after every step.
        after_epoch: called after every epoch.

    Returns:
        The same model, trained. After a gentle training its weights have gone two fifths of the way back to the first
        ones, as they have when an epoch is rated.

    Raises:
        DamagedStateError: where `state_file` is damaged or of another training.
        ValueError: where the training has fewer steps than phases or diverges, targets are beyond the model's logits,
            or it is gentle and the model has no linear classifier that timm's `get_classifier` finds.
    """
    check_length(settings, len(data.images))
    batches = steps_per_epoch(len(data.images), settings.batch_size)
    total_steps = settings.epochs * batches
    fitted = _start(model, data, settings, total_steps)
    data.check_classes(predict(model, data.images[:1], bfloat16=settings.precision == "bfloat16").shape[1])
    forward = fitted.wrapper or model
    optimizer = create_optimizer_v2(
        model, opt="adamw", lr=settings.learning_rate, weight_decay=_WEIGHT_DECAY, fused=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=total_steps)
    state = FitState(fitted, data, settings, optimizer=optimizer, scheduler=scheduler)
    if state_file is not None:
        state.load(state_file)
    if not fitted.history:
        _prepare(fitted, data, settings)
    loop = _Loop(fitted, data, settings, optimizer, scheduler, total_steps, report or (lambda _: None))
    attachment = fitted.wrapper.attach(optimizer) if fitted.wrapper is not None else None
    device = device_of(model)
    try:
        for epoch in range(len(fitted.history), settings.epochs):
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_epoch_seed(settings.seed, epoch))
                forward.train()
                if settings.hold_statistics:
                    hold_statistics(model)
                loop.train_epoch(epoch)
            if state_file is not None:
                state.save(state_file)
            if after_epoch is not None:
                after_epoch(fitted)
    finally:
        forward.eval()
        if attachment is not None:
            attachment.remove()
    if fitted.first_weights:
        interpolate_weights(model, fitted.first_weights)
    return fitted


@dataclass
class _Loop:
    fitted: Fitted
    data: TrainingData
    settings: FitSettings
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LRScheduler
    total_steps: int
    report: Callable[[Progress], None]

    def train_epoch(self, epoch: int) -> None:
        """Take the steps of an epoch, test on what is held out, and write both down."""
        fitted, settings = self.fitted, self.settings
        began, losses, mask_losses, phases = time.perf_counter(), [], [], {}
        steps: dict[str, int] = {}
        for images, targets, silhouettes in self._batches():
            phase, step_began = fitted.phase, time.perf_counter()
            losses.append(self._step(images, targets, silhouettes))
            if not math.isfinite(losses[-1]):
                where = f"in step {len(losses)} of epoch {epoch + 1} with `learning_rate` (={settings.learning_rate:g})"
                raise ValueError(f"the loss is {losses[-1]} {where}: pass a smaller one")
            if phase == "mask":
                mask_losses.append(self._mask_loss())
            phases[phase] = phases.get(phase, 0.0) + time.perf_counter() - step_began
            steps[phase] = steps.get(phase, 0) + 1
            step = epoch * (self.total_steps // settings.epochs) + len(losses)
            mask_loss = mask_losses[-1] if mask_losses else None
            self.report(Progress(settings.method, phase, step, self.total_steps, losses[-1], mask_loss))
        for phase, seconds in phases.items():
            fitted.phase_seconds[phase] = fitted.phase_seconds.get(phase, 0.0) + seconds
        with interpolated(fitted.model, fitted.first_weights) if fitted.first_weights else nullcontext():
            logits = predict(fitted.model, self.data.held_out_images, bfloat16=settings.precision == "bfloat16")
            fitted.history.append(
                {
                    "epoch": epoch + 1,
                    "phases": list(phases),
                    "steps": steps,
                    "loss": float(np.mean(losses)),
                    "mask_loss": float(np.mean(mask_losses)) if mask_losses else None,
                    "held_out_loss": F.cross_entropy(logits, self.data.held_out_targets).item(),
                    "held_out_accuracy": accuracy(logits, self.data.held_out_targets),
                    "learning_rate": self.scheduler.get_last_lr()[0],
                    "seconds": round(time.perf_counter() - began, 2),
                }
            )
            self._keep_best()

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        data, device = self.data, device_of(self.fitted.model)
        space, augment = PixelSpace.of(self.fitted.model), MildAugmentation(self.settings.hflip)
        order = torch.randperm(len(data.images))
        for indices in order.tensor_split(steps_per_epoch(len(order), self.settings.batch_size)):
            silhouettes = data.silhouettes[indices].to(device) if data.silhouettes is not None else None
            pixels, silhouettes = augment(data.images[indices].to(device) / 255, silhouettes)
            images = space.from_pixels(pixels).contiguous(memory_format=torch.channels_last)
            yield images, data.targets[indices].to(device), silhouettes

    def _step(self, images: Tensor, targets: Tensor, silhouettes: Tensor | None) -> float:
        wrapper = self.fitted.wrapper
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"):
            if wrapper is not None:
                outputs = wrapper(images, mask=silhouettes, targets=targets)
            else:
                outputs = self.fitted.model(images)
            loss = F.cross_entropy(outputs, targets, label_smoothing=_LABEL_SMOOTHING)
        loss.backward()
        if wrapper is not None:
            wrapper.companions.report(loss=loss.detach())
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _mask_loss(self) -> float:
        wrapper = self.fitted.wrapper
        if wrapper is None or wrapper.companions.mask_loss is None:
            return 0.0
        return wrapper.companions.mask_loss.item()

    def _keep_best(self) -> None:
        history, fitted = self.fitted.history, self.fitted
        if history[-1]["phases"][-1] not in ("plain", "adversarial"):
            return
        best = history[fitted.best_epoch - 1]["held_out_accuracy"] if fitted.best_epoch else -1.0
        if history[-1]["held_out_accuracy"] >= best:
            fitted.best_epoch = len(history)
            fitted.best_weights = {
                name: tensor.detach().cpu().clone() for name, tensor in fitted.model.state_dict().items()
            }


def _start(model: nn.Module, data: TrainingData, settings: FitSettings, total_steps: int) -> Fitted:
    use_channels_last(model)
    options = settings.companion_options()
    if options is None:
        return Fitted(model, None)
    space = PixelSpace.of(model)
    masks = quick_masks(options, shrinks=takes_small_images(model, data.images))
    schedule = settings.schedule(total_steps)
    wrapper = AdversarialBackground(
        model, mean=space.mean, std=space.std, schedule=schedule, seed=settings.seed, **masks
    )
    return Fitted(model, wrapper)


def _prepare(fitted: Fitted, data: TrainingData, settings: FitSettings) -> None:
    """Do what comes before the first step of a training."""
    if settings.tuning == GENTLE:
        began = time.perf_counter()
        fit_classifier(fitted.model, data.images, data.targets, bfloat16=settings.precision == "bfloat16")
        fitted.first_weights = {name: tensor.clone() for name, tensor in fitted.model.state_dict().items()}
        fitted.phase_seconds[_CLASSIFIER_ALONE] = time.perf_counter() - began
    if fitted.wrapper is not None and data.silhouettes is None:
        began = time.perf_counter()
        teach_first_guess(fitted.wrapper.companions, data.images, settings.seed)
        fitted.phase_seconds[_FIRST_GUESS] = time.perf_counter() - began


def _epoch_seed(seed: int, epoch: int) -> int:
    """A seed of its own for every epoch, so that a run that goes on draws what an unbroken one does."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)

"""Tiny models and a plain loop for the tests."""

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule


def tiny_classifier(channels: int = 3, classes: int = 4, *, batch_norm: bool = False, seed: int = 0) -> nn.Sequential:
    """A convolutional classifier for images of any size, with the same weights for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, 6, 3, stride=2),
            nn.BatchNorm2d(6) if batch_norm else nn.Identity(),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, classes),
        )


def a_batch(
    count: int = 8, channels: int = 3, size: tuple[int, int] = (32, 32), seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Bright blocks on black, and classes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(count, channels, *size)
    height, width = size
    inside = (count, channels, height // 2, width // 2)
    images[:, :, height // 4 : height // 4 + height // 2, width // 4 : width // 4 + width // 2] = (
        0.5 + 0.5 * torch.rand(inside, generator=generator)
    )
    return images, torch.randint(4, (count,), generator=generator)


def adversarial_wrapper(model: nn.Module | None = None, **options: Any) -> AdversarialBackground:
    """A wrapper that is in the adversarial phase from its first step."""
    options.setdefault("schedule", Schedule(classifier=0, mask=0))
    options.setdefault("mask_generator", "nonzero")
    return AdversarialBackground(model if model is not None else tiny_classifier(), **options)


def train(wrapper: Any, optimizer: torch.optim.Optimizer, steps: int, *, first: int = 0) -> list[float]:
    """The plain loop over fresh batches; what it returns are the losses."""
    losses = []
    for step in range(first, first + steps):
        images, targets = a_batch(seed=step)
        loss = nn.functional.cross_entropy(wrapper(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def run_without_type_checks(script: str) -> None:
    """Run a script in a process of its own, where `tests/conftest.py` installs no type checks."""
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr

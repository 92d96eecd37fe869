"""Short runs of timm's tasks, with the companions and without."""

from typing import Any

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.task import TrainingTask
from torch import Tensor, nn

from advbg import Schedule
from advbg.integrations.timm import AdversarialBackgroundTask
from tests.models import a_batch

PHASES = ["classifier", "mask", "mask", "adversarial", "adversarial"]
SCHEDULE = Schedule(classifier=1, mask=2)


def a_model(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return timm.create_model("test_resnet.r160_in1k", num_classes=4)


def some_images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Blocks on black, normalised as timm's model expects."""
    images, targets = a_batch(seed=seed)
    config = a_model().pretrained_cfg
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    return (images - mean) / std, targets


def a_task(**options: Any) -> AdversarialBackgroundTask:
    return AdversarialBackgroundTask(a_model(), **{"verbose": False, "schedule": SCHEDULE, **options})


def an_optimizer(task: TrainingTask, name: str = "sgd") -> torch.optim.Optimizer:
    return create_optimizer_v2(task.get_trainable_module(), opt=name, lr=0.05, momentum=0.9)


def train(task: TrainingTask, optimizer: torch.optim.Optimizer, steps: int, first: int = 0) -> list[float]:
    """The calls of timm's `train_one_epoch`."""
    task.get_trainable_module().train()
    losses = []
    for step in range(first, first + steps):
        result = task(*some_images(step))
        result["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        task.update_ema(step=step + 1)
        losses.append(result["loss"].item())
    return losses


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)

"""Backgrounds of one grey each, and a model that says how bright its images are: what is chosen can be read off."""

from typing import Any

import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule

SIDE = 8


class Greys:
    """Backgrounds of one grey each: the next of a list."""

    def __init__(self, *greys: float) -> None:
        self.greys = greys
        self.made = 0

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        first, self.made = self.made, self.made + count
        greys = [self.greys[place % len(self.greys)] for place in range(first, first + count)]
        return torch.tensor(greys)[:, None, None, None].expand(count, *shape).clone()


class Brightness(nn.Module):
    """Says class 1 of bright images and class 0 of dark ones."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.calls: list[tuple[bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append((self.training, torch.is_grad_enabled()))
        brightness = self.norm(images).mean(dim=(1, 2, 3)) - 0.5
        return self.gain * torch.stack([-brightness, brightness], dim=1)


def judging_wrapper(model: nn.Module, *greys: float, **options: Any) -> AdversarialBackground:
    said = {"background": Greys(*greys), "clean_share": 0.0, "halo": 0.0, "schedule": Schedule(0, 0)} | options
    return AdversarialBackground(model, mask_generator="nonzero", **said).train()


def grey_squares(count: int = 2) -> Tensor:
    """A grey object in a corner of black images."""
    images = torch.zeros(count, 1, SIDE, SIDE)
    images[..., :4, :4] = 0.5
    return images


def greys_behind(wrapper: AdversarialBackground, images: Tensor, targets: Any = None) -> list[float]:
    """What stood behind the objects of a batch, by the composites that the model was called on last."""
    shown: list[Tensor] = []
    hook = wrapper.model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    wrapper(images, targets=targets)
    hook.remove()
    return [round(grey, 4) for grey in shown[-1][:, 0, -1, -1].tolist()]

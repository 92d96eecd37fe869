"""Mask generators of one's own."""

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.masks.learning import make_masks
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, tiny_classifier


class _Normalised(nn.Module):
    """A mask generator with BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.normalise, self.head = nn.BatchNorm2d(3), nn.Conv2d(3, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.sigmoid(self.head(self.normalise(pixels)))


def test_a_mask_generators_own_statistics_move_only_while_it_learns() -> None:
    generator = _Normalised()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 2), mask_generator=generator)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    batches = []
    for seed in range(4):
        batches.append((wrapper.phase, int(generator.normalise.num_batches_tracked)))
        wrapper(a_batch(seed=seed)[0]).sum().backward()
        optimizer.step()
    assert batches == [("mask", 0), ("mask", 1), ("adversarial", 2), ("adversarial", 2)]
    assert generator.training


def test_a_mask_generator_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"returned shape \(8, 3, 32, 32\).*expected \(8, 1, 32, 32\)"):
        make_masks(nn.Identity(), a_batch()[0], PixelSpace())

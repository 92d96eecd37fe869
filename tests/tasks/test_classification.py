"""The default task is what it was before there were tasks."""

from dataclasses import replace

import torch
from torch import nn

from advbg import AdversarialBackground, Schedule, SufficiencyNecessity
from tests.models import a_batch, tiny_classifier


def test_masks_are_rated_bit_for_bit_as_by_the_objective_alone() -> None:
    images, _ = a_batch()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    objective = wrapper.companions.options.mask_objective
    assert replace(objective, distance=None) == SufficiencyNecessity()
    mask = torch.rand(8, 1, 32, 32)
    model = tiny_classifier()
    assert torch.equal(objective(model, images, mask), SufficiencyNecessity()(model, images, mask))


def test_a_measure_of_ones_own_is_left_alone() -> None:
    def distance(*_: object) -> torch.Tensor:
        return torch.zeros(())

    objective = SufficiencyNecessity(area=0.0, smoothness=0.0, distance=distance)
    wrapper = AdversarialBackground(tiny_classifier(), mask_objective=objective)
    assert wrapper.companions.options.mask_objective is objective


def test_classes_say_nothing_about_the_foreground() -> None:
    wrapper = AdversarialBackground(nn.Identity(), schedule=Schedule(0, 0), mask_generator="nonzero")
    wrapper.companions.attached = True
    images, targets = a_batch()
    wrapper(images, targets=targets)
    assert wrapper.companions.masks_given is False
    assert wrapper.targets is targets

"""Held-out backgrounds and the share of images right before all of them."""

import torch
from torch import nn

from advbg.benchmark.held_out import make_held_out, right_before

KINDS = ("photograph", "text", "gradient", "objects", "moire", "blobs")


def _objects():
    return torch.rand(40, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def test_each_kind_has_five_to_choose_by_and_five_to_report():
    held_out = make_held_out(_objects())
    for part, indices in ((held_out.choose, (0, 2, 4, 6, 8)), (held_out.report, (1, 3, 5, 7, 9))):
        assert set(part) == {f"{kind}-{index}" for kind in KINDS for index in indices}
    assert len(held_out.report) == 30


def test_backgrounds_are_images_in_the_unit_interval_and_all_different():
    held_out = make_held_out(_objects())
    every = [*held_out.choose.values(), *held_out.report.values()]
    assert all(background.shape == (32, 32) and background.dtype == torch.float32 for background in every)
    assert all(0 <= background.min() < background.max() <= 1 for background in every)
    assert len({background.numpy().tobytes() for background in every}) == 60


def test_the_same_objects_give_the_same_backgrounds():
    first, second = make_held_out(_objects()), make_held_out(_objects())
    assert all(torch.equal(first.report[name], second.report[name]) for name in first.report)


class _Corner(nn.Module):
    def forward(self, images):
        white = images[:, 0, 0, 0]
        return torch.stack([1 - white, white], dim=1)


def test_right_before_says_which_images_are_right_before_which_backgrounds():
    images = torch.zeros(2, 1, 16, 16)
    images[:, :, 8, 8] = 1.0
    backgrounds = {"black": torch.zeros(16, 16), "white": torch.ones(16, 16)}
    right = right_before(_Corner(), images, torch.tensor([0, 1]), backgrounds)
    assert right.tolist() == [[True, False], [False, True]]

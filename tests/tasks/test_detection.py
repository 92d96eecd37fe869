"""Boxes as a rough foreground."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.tv_tensors import BoundingBoxes

from advbg import AdversarialBackground, Schedule


def _kept(targets: Any, size: tuple[int, int] = (20, 24)) -> Tensor:
    """Which pixels of each image keep their own values."""
    wrapper = AdversarialBackground(
        nn.Identity(), task="detection", schedule=Schedule(0, 50), clean_share=0.0, halo=0.0
    )
    wrapper.companions.attached = True
    images = torch.rand(len(targets) if isinstance(targets, list) else 1, 3, *size)
    seen = wrapper(images, targets=targets)
    assert wrapper.targets is targets
    assert wrapper.phase == "adversarial"
    return (seen == images).all(dim=1)


def test_pixels_in_a_box_stay_and_an_image_without_boxes_stays_whole() -> None:
    boxes = torch.tensor([[2.0, 3.0, 6.0, 9.0], [4.0, 8.0, 30.0, 12.0]])
    kept = _kept([{"boxes": boxes, "labels": torch.tensor([1, 2])}, {"boxes": torch.zeros(0, 4)}])
    expected = torch.zeros(20, 24, dtype=torch.bool)
    expected[3:9, 2:6] = True
    expected[8:12, 4:] = True
    assert torch.equal(kept[0], expected)
    assert kept[1].all()


def test_every_pixel_that_a_box_touches_is_in_it() -> None:
    kept = _kept([{"boxes": torch.tensor([[2.5, 3.5, 4.5, 5.01]])}])[0]
    assert kept.nonzero().amin(dim=0).tolist() == [3, 2]
    assert kept.nonzero().amax(dim=0).tolist() == [5, 4]


@pytest.mark.parametrize(("form", "box"), [("XYWH", [2, 3, 4, 6]), ("CXCYWH", [4, 6, 4, 6]), ("XYXY", [2, 3, 6, 9])])
def test_bounding_boxes_of_torchvision_are_read_in_their_own_format(form: str, box: list[int]) -> None:
    boxes = BoundingBoxes(torch.tensor([box]), format=form, canvas_size=(20, 24))
    plain = _kept([{"boxes": torch.tensor([[2, 3, 6, 9]])}])
    assert torch.equal(_kept([{"boxes": boxes}]), plain)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([{"boxes": torch.tensor([[0.1, 0.2, 0.5, 0.9]])}], r"in pixels: all of an image are within \[0, 1\]"),
        ([{"boxes": torch.tensor([[0.0, 0.0, 1.0, 1.0]])}], r"in pixels: all of an image are within \[0, 1\]"),
        ([{"boxes": torch.tensor([[6.0, 3.0, 2.0, 9.0]])}], "negative size"),
        ([{"boxes": torch.tensor([[2.0, 9.0, 6.0, 3.0]])}], "negative size"),
        ([{"boxes": torch.tensor([[6.0, float("nan"), 9.0, 9.0]])}], "negative size"),
        (
            [{"boxes": torch.tensor([[100.0, 100.0, 140.0, 124.0]])}],
            r"covers a pixel of an image of 20 x 24",
        ),
        ([{"boxes": torch.tensor([[8, 8, 8, 8]])}], r"none of \[\[8.0, 8.0, 8.0, 8.0\]\] covers a pixel"),
        ([{"boxes": torch.zeros(3)}], r"`boxes` in `targets` has shape \(3,\), expected \(count, 4\)"),
        ([{"boxes": torch.zeros(2, 5)}], r"`boxes` in `targets` has shape \(2, 5\), expected \(count, 4\)"),
        ([{"labels": torch.zeros(3)}], "each with a tensor `boxes`"),
        (torch.zeros(1, 4), "must be a list with a mapping for each image"),
    ],
)
def test_targets_without_boxes_in_pixels_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _kept(targets)


@pytest.mark.parametrize("count", [1, 3])
def test_targets_of_another_number_of_images_are_refused(count: int) -> None:
    wrapper = AdversarialBackground(nn.Identity(), task="detection")
    wrapper.companions.attached = True
    with pytest.raises(ValueError, match=f"`targets` are of {count} images, but `images` has 2"):
        wrapper(torch.rand(2, 3, 8, 8), targets=[{"boxes": torch.tensor([[1, 1, 4, 4]])}] * count)


def test_a_box_that_touches_a_pixel_by_less_than_a_float_can_tell_covers_it() -> None:
    boxes = torch.tensor([[2.0, 0.0, 4.0 + 1e-12, 4.0]], dtype=torch.float64)
    kept = _kept([{"boxes": boxes}])[0]
    assert kept[0].nonzero().flatten().tolist() == [2, 3, 4]

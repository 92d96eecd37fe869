"""Masks and targets that cannot have been meant: said with the first batch, since the training would go on."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper

pytestmark = pytest.mark.filterwarnings("ignore:the model trains against backgrounds")


def _objects(images: Tensor) -> Tensor:
    return (images.amax(dim=1) > 0).float()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (lambda objects: 0 * objects, "the given masks of all 8 images are empty"),
        (
            lambda objects: objects / 255,
            r"stay under 0\.5 \(the largest is 0\.00392\).*by 255 twice",
        ),
        (lambda objects: 0 * objects + 1, "the given masks of all 8 images cover them whole"),
    ],
    ids=["empty", "divided twice", "full"],
)
def test_given_masks_that_are_of_no_use_are_warned_of_once(mask: Any, message: str) -> None:
    images, _ = a_batch()
    wrapper = adversarial_wrapper()
    with pytest.warns(UserWarning, match=message):
        wrapper(images, mask=mask(_objects(images)))
    wrapper(images, mask=mask(_objects(images)))


def test_masks_of_ones_own_generator_that_cover_all_images_are_warned_of() -> None:
    images, _ = a_batch()
    with pytest.warns(UserWarning, match="the masks of all 8 images cover them whole, so no background is left"):
        adversarial_wrapper()(1 - images)


def test_masks_that_are_of_use_for_one_image_alone_are_taken_without_a_word() -> None:
    images, _ = a_batch()
    for useless in (0.0, 1.0):
        mask = torch.full((8, 32, 32), useless)
        mask[3] = _objects(images)[3]
        adversarial_wrapper()(images, mask=mask)


@pytest.mark.parametrize("shape", [(8, 32, 32), (8, 1, 32, 32)])
def test_label_maps_of_a_classifier_are_warned_of(shape: tuple[int, ...]) -> None:
    images, _ = a_batch()
    wrapper = adversarial_wrapper(nn.Conv2d(3, 2, 3, padding=1))
    targets = torch.zeros(shape, dtype=torch.int64)
    with pytest.warns(UserWarning, match=r"as large as the images.*pass `task='segmentation'`"):
        wrapper(images, targets=targets)
    wrapper(images, targets=targets)


@pytest.mark.parametrize("targets", [torch.zeros(8, dtype=torch.int64), torch.zeros(8, 32), None])
def test_targets_of_other_shapes_are_taken_without_a_word(targets: Tensor | None) -> None:
    adversarial_wrapper(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 32)))(a_batch()[0], targets=targets)


@pytest.mark.parametrize(("value", "share"), [(float("nan"), "50.00%"), (float("inf"), "50.00%")])
def test_images_with_numbers_that_are_none_are_named_as_such(value: float, share: str) -> None:
    images, _ = a_batch()
    images[:4] = value
    with pytest.raises(ValueError, match=rf"`images` hold values that are no numbers or infinite \({share} of them\)"):
        adversarial_wrapper()(images)


def test_draws_find_the_foreground_in_targets_as_the_model_s_call_does() -> None:
    images, _ = a_batch()
    labels = _objects(images).long()
    wrapper = AdversarialBackground(
        nn.Conv2d(3, 2, 3, padding=1), task="segmentation", candidates=2, schedule=Schedule(0, 0)
    )
    assert wrapper.generate_parameters(images, targets=labels).backgrounds.shape == images.shape

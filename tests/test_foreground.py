"""Which masks images are composited with, and how these are made hard."""

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground
from tests.models import a_batch, adversarial_wrapper, tiny_classifier


def _faint(pixels: Tensor) -> Tensor:
    return torch.full_like(pixels[:, :1], 0.25)


def _wrapper(binarization: str) -> AdversarialBackground:
    """Shows what a model would see before black."""
    wrapper = adversarial_wrapper(
        nn.Identity(),
        mask_generator=_faint,
        binarization=binarization,
        background="black",
        clean_share=0.0,
        halo=0.0,
    )
    wrapper.companions.attached = True
    return wrapper


def test_learned_masks_that_are_to_stay_soft_are_composited_with_as_they_are() -> None:
    images, _ = a_batch()
    torch.testing.assert_close(_wrapper("none")(images), 0.25 * images)


def test_learned_masks_are_made_hard_where_they_are_composited_with() -> None:
    images, _ = a_batch()
    with pytest.warns(UserWarning, match="the masks of all 8 images are empty"):
        assert torch.equal(_wrapper("0.5")(images), images)


@pytest.mark.parametrize(("binarization", "value"), [("none", 0.25), ("0.5", 0.0)])
def test_the_foreground_that_can_be_asked_for_is_as_hard_as_the_option_says(binarization: str, value: float) -> None:
    foreground = _wrapper(binarization).companions.foreground(a_batch()[0])
    assert torch.equal(foreground, torch.full((8, 1, 32, 32), value))


def test_draws_are_replayed_with_soft_masks_as_well() -> None:
    wrapper, (images, _) = _wrapper("none"), a_batch()
    params = wrapper.generate_parameters(images)
    torch.testing.assert_close(wrapper.eval()(images, params=params), 0.25 * images)


def test_masks_that_are_looked_at_carry_no_graph() -> None:
    companions = AdversarialBackground(tiny_classifier()).companions
    images, _ = a_batch()
    assert not companions.soft_mask(images).requires_grad
    assert not companions.foreground(images, mask=torch.rand(8, 1, 16, 16).requires_grad_()).requires_grad

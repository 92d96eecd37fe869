"""Outputs that are numbers in units of their own."""

from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.masks.objectives import output_distance
from advbg.tasks import Regression
from tests.models import a_batch


def _distance(outputs: Any, expected: Any, other: Any) -> float:
    count = len(expected) if isinstance(expected, Tensor) else 16
    return Regression().advbg_distance("regression", outputs, expected, other, count).item()


def _answers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(16, *shape, generator=torch.Generator().manual_seed(seed))


def test_an_error_is_measured_by_how_far_the_images_are_apart_whatever_the_offset() -> None:
    whole, empty = 1000 + 3 * _answers(), torch.zeros(16)
    one_spread = whole + whole.std(correction=0)
    assert _distance(one_spread, whole, empty) == pytest.approx(1.0, rel=1e-3)
    assert output_distance(one_spread, whole, empty, 16) < 0.01


def test_what_is_left_of_an_object_is_measured_by_how_much_there_was() -> None:
    whole, empty = 1000 + 3 * _answers(), torch.zeros(16)
    assert _distance(whole, empty, whole) == pytest.approx(1.0)
    assert _distance(whole / 2, empty, whole) == pytest.approx(0.5)


@settings(max_examples=25, deadline=None)
@given(first=st.floats(1e-3, 1e3), second=st.floats(1e-3, 1e3), offset=st.floats(-10, 10))
def test_units_do_not_matter_each_number_weighs_alike(first: float, second: float, offset: float) -> None:
    scale, shift = torch.tensor([first, second]), offset * torch.tensor([first, second])
    outputs, whole, empty = _answers(2), _answers(2, seed=1), 0.1 * _answers(2, seed=2)
    plain = _distance(outputs, whole, empty)
    assert _distance(*(scale * part + shift for part in (outputs, whole, empty))) == pytest.approx(plain, rel=1e-2)


def test_one_image_and_answers_that_never_vary_give_no_nan() -> None:
    one = _answers()[:1]
    assert _distance(torch.zeros(1), one, torch.zeros(1)) == pytest.approx(1.0)
    same = torch.full((16, 2), 5.0)
    assert _distance(same, same, same) == 0.0
    assert _distance(same + 1e-6, same, same) < 1


class _Pose(NamedTuple):
    angle: Tensor
    maps: Tensor


def test_several_and_dense_outputs_are_averaged() -> None:
    whole = _Pose(_answers(), _answers(3, 4, 4, seed=1))
    zeros = _Pose(torch.zeros(16), torch.zeros(16, 3, 4, 4))
    outputs = _Pose(whole.angle, whole.maps + whole.maps.std(dim=0, correction=0))
    assert _distance(outputs, whole, zeros) == pytest.approx(0.5, rel=1e-3)
    mappings = [{"a": part.angle, "more": [part.maps]} for part in (outputs, whole, zeros)]
    assert _distance(*mappings) == _distance(outputs, whole, zeros)


def test_masks_are_learned_by_the_measure_and_targets_stay() -> None:
    images, _ = a_batch()
    losses = []
    for task in ("regression", "classification"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
        model[1].bias.data.fill_(50.0)
        wrapper = AdversarialBackground(model, task=task, schedule=Schedule(0, 1))
        wrapper.companions.attached = True
        targets = torch.rand(8, 2)
        wrapper(images, targets=targets)
        assert wrapper.phase == "mask"
        assert wrapper.targets is targets
        losses.append(wrapper.companions.mask_loss.item())
    assert losses[0] != losses[1]


def test_as_many_numbers_for_as_many_images_as_a_side_has_pixels_are_no_map() -> None:
    images = a_batch(count=16, size=(16, 16))[0]
    wrapper = AdversarialBackground(nn.Identity(), task="regression")
    wrapper.companions.attached = True
    assert torch.equal(wrapper(images, targets=torch.rand(16, 16)), images)


@pytest.mark.parametrize("shape", [(8, 32, 32), (8, 1, 32, 32)])
def test_a_map_as_large_as_the_images_is_refused_with_the_first_batch(shape: tuple[int, ...]) -> None:
    wrapper = AdversarialBackground(nn.Identity(), task="regression")
    wrapper.companions.attached = True
    with pytest.raises(
        ValueError, match=r"plugin 'regression' .* are as large as `images` .* changes with the background"
    ):
        wrapper(a_batch()[0], targets=torch.rand(shape))
    with pytest.raises(ValueError, match=r"plugin 'regression' .* are as large as `images`"):
        wrapper(a_batch()[0], targets={"angle": torch.rand(8), "more": [torch.rand(shape)]})
    assert wrapper.companions.step_count == 0


def test_a_model_that_answers_nothing_but_zeros_leaves_the_loss_finite() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    wrapper = AdversarialBackground(model, task="regression", schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    wrapper(a_batch()[0])
    assert wrapper.companions.mask_loss.isfinite()

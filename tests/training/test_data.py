"""What is trained on is checked before any work is done."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from advbg.training.data import TrainingData
from advbg.training.fit import fit
from advbg.training.settings import FitSettings
from tests.models import tiny_classifier
from tests.training.made_up import some_data


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("images", lambda value: value / 255, r"`images` must be uint8 colours from 0 to 255.*float32 of shape"),
        ("images", lambda value: value[:, :1], r"`images` must be uint8 .*\(18, 1, 32, 32\)"),
        ("images", lambda value: value[:0], r"`images` must be uint8 .*\(0, 3, 32, 32\)"),
        ("held_out_images", lambda value: value.float(), r"`held_out_images` must be uint8"),
        ("held_out_images", lambda value: value[..., :16], r"`held_out_images` must be as large as `images` \(\(32"),
        ("targets", lambda value: value[:3], r"`targets` must be torch.int64 of shape \(18,\), got .*\(3,\)"),
        ("targets", lambda value: value.int(), r"`targets` must be torch.int64 .*torch.int32"),
        ("targets", lambda value: value - 1, r"`targets` must be indices of classes from 0, got -1"),
        ("held_out_targets", lambda value: value[:, None], r"`held_out_targets` must be .*\(9,\), got .*\(9, 1\)"),
        ("silhouettes", lambda value: value[:, 0], r"`silhouettes` must be torch.bool of shape \(18, 1, 32, 32\)"),
        ("silhouettes", lambda value: value.float(), r"`silhouettes` must be torch.bool .*torch.float32"),
    ],
)
def test_what_does_not_fit_is_named_with_what_was_expected(name: str, change: Any, message: str) -> None:
    data = some_data(silhouettes=True)
    with pytest.raises(ValueError, match=message):
        replace(data, **{name: change(getattr(data, name))})


def test_arrays_are_no_tensors() -> None:
    data = some_data()
    # Past the suite's own check of types, which users do not have.
    object.__setattr__(data, "images", np.asarray(data.images))
    with pytest.raises(TypeError, match=r"`images` \(a ndarray\) must be a tensor"):
        data.__post_init__()


def test_held_out_images_are_counted_that_are_trained_on_as_well() -> None:
    images = some_data().images
    held_out = torch.stack([images[3], images[3], images[4].flip(-1), images[5]])
    held_out[2, 0, 0, 0] = 17
    data = TrainingData(images, torch.zeros(len(images)).long(), held_out, torch.zeros(4).long())
    assert data.count_copies() == 3


@pytest.mark.parametrize(("name", "value"), [("targets", 3), ("held_out_targets", 5)])
def test_a_target_beyond_the_models_logits_is_refused_before_the_first_step(name: str, value: int) -> None:
    data = some_data()
    targets = getattr(data, name).clone()
    targets[-1] = value
    wrong = replace(data, **{name: targets})
    never = lambda _: pytest.fail("a step was taken")  # noqa: E731
    with pytest.raises(ValueError, match=f"`{name}` go up to {value}, but the model has 3 logits"):
        fit(tiny_classifier(classes=3), wrong, FitSettings("baseline", epochs=2, batch_size=6), report=never)
    wrong.check_classes(value + 1)

"""How well a model does, with how sure one can be."""

import math
from pathlib import Path

import pytest
import torch
from timm import create_model

from advbg.backgrounds.patterns import PATTERNS
from advbg.training.silhouettes import flooded_silhouettes
from advbg.training.testing import accuracy, before_patterns, predict, rate
from tests.training.made_up import some_data

CLASSES, FILES = ["å", "b", "c"], ["0.png", "1.png", "2.png", "3.png"]
# Right, wrong and sure, wrong and less sure, right; class "c" has no image.
LOGITS = torch.tensor([[3.0, 0, 0], [0, 9.0, 0], [0, 0, 1.0], [0, 2.0, 0]])
TARGETS = torch.tensor([0, 0, 1, 1])


def test_accuracy_comes_with_its_interval() -> None:
    measured = rate(LOGITS, TARGETS, CLASSES, FILES)
    assert (measured["n"], measured["accuracy"]) == (4, 50.0)
    z = 1.959964
    half = z * math.sqrt(0.25 / 4 + z**2 / 64) / (1 + z**2 / 4)
    assert measured["interval"] == pytest.approx([100 * (0.5 - half), 100 * (0.5 + half)], abs=0.01)


def test_each_class_is_rated_and_an_absent_one_is_not() -> None:
    measured = rate(LOGITS, TARGETS, CLASSES, FILES)
    assert {name: part["accuracy"] for name, part in measured["per_class"].items()} == {"å": 50.0, "b": 50.0, "c": None}
    assert measured["per_class"]["c"] == {"n": 0, "accuracy": None, "interval": None}
    assert measured["confusion"] == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_failures_are_named_the_surest_first() -> None:
    failures = rate(LOGITS, TARGETS, CLASSES, FILES)["failures"]
    # Wherever a report on them is made from.
    assert [Path(failure["file"]) for failure in failures] == [Path.cwd() / "1.png", Path.cwd() / "2.png"]
    assert failures[0] == {"file": str(Path.cwd() / "1.png"), "truth": "å", "predicted": "b", "confidence": 0.9998}
    many = rate(LOGITS[[1] * 30], TARGETS[[1] * 30], CLASSES, ["x"] * 30)["failures"]
    assert len(many) == 20


def test_accuracy_is_in_percent() -> None:
    assert accuracy(LOGITS, TARGETS) == 50.0


def test_predictions_are_the_models_own() -> None:
    model, data = create_model("test_efficientnet", num_classes=3), some_data(70, 1)
    logits = predict(model, data.images)
    mean, std = (torch.tensor(model.pretrained_cfg[name])[:, None, None] for name in ("mean", "std"))
    with torch.no_grad():
        expected = model.eval()((data.images / 255 - mean) / std)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_objects_are_cut_out_and_put_before_each_pattern() -> None:
    data = some_data()
    objects = (data.images < 255).any(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    changed = dict(before_patterns(data.images, flooded_silhouettes(data.images)))
    assert tuple(changed) == ("stripes", "board", "border", "circles", "clock", "random")
    for name, pixels in changed.items():
        assert pixels.dtype == torch.uint8
        assert torch.equal(pixels[objects], data.images[objects])
        pattern = (255 * PATTERNS[name](32)).to(torch.uint8).expand_as(pixels)
        assert torch.equal(pixels[~objects], pattern[~objects])

"""What a run leaves behind is of the epoch that it says."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from timm import create_model
from torch import Tensor

from advbg import AdversarialBackground, Schedule
from advbg.training import results
from advbg.training.fit import Fitted
from advbg.training.prepare import PreparedRun, RunSettings, prepare
from advbg.training.results import draw_composites, measure_run, save_run
from advbg.training.settings import FitSettings
from advbg.training.testing import accuracy, predict
from tests.models import tiny_classifier
from tests.training.made_up import a_folder, some_data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> PreparedRun:
    """A baseline, read and not yet trained, on fewer images of the first class than of the others."""
    folder = a_folder(tmp_path_factory.mktemp("images") / "train", 10)
    for index in range(5):
        (folder / "blå" / f"{index}.png").unlink()
    training = FitSettings(epochs=3, batch_size=6, method="baseline")
    return prepare(RunSettings(str(folder), "test_efficientnet", image_size=32, device="cpu", training=training))


@pytest.fixture(scope="module")
def fitted(run: PreparedRun) -> Fitted:
    """The last epoch answers with the first class, the best one with the second."""
    weights = []
    for answer in range(2):
        model = create_model("test_efficientnet", num_classes=3)
        torch.nn.init.zeros_(model.classifier.weight)
        model.classifier.bias.data.copy_(torch.eye(3)[answer])
        weights.append(model.state_dict())
    run.model.load_state_dict(weights[0])
    return Fitted(run.model, None, best_epoch=2, best_weights=weights[1])


def test_the_last_and_the_best_epoch_are_rated_each_by_its_own_weights(run: PreparedRun, fitted: Fitted) -> None:
    data = run.data
    measured = measure_run(fitted, run, data)
    counts = torch.bincount(data.held_out_targets, minlength=3).tolist()
    assert counts == [1, 2, 2]
    confusion = measured["sets"]["held-out"]["confusion"]
    assert confusion == [[count, 0, 0] for count in counts]
    assert measured["best"]["epoch"] == 2
    assert measured["best"]["accuracy"]["held-out"] == pytest.approx(100 * counts[1] / sum(counts), abs=0.01)
    # What is in memory afterwards is still the last epoch's.
    assert accuracy(predict(fitted.model, data.held_out_images), torch.zeros(sum(counts)).long()) == 100


def test_each_file_of_weights_holds_those_of_its_epoch(run: PreparedRun, fitted: Fitted, tmp_path: Path) -> None:
    save_run(fitted, run, tmp_path)
    for name, weights in (("model", fitted.model.state_dict()), ("best", fitted.best_weights)):
        saved = load_file(tmp_path / f"{name}.safetensors")
        assert saved.keys() == weights.keys()
        assert all(torch.equal(tensor, weights[key]) for key, tensor in saved.items())
        with safe_open(tmp_path / f"{name}.safetensors", framework="pt") as file:
            about = json.loads(file.metadata()["advbg_train"])
        assert about.get("epoch") == (2 if name == "best" else None)
        assert (about["fit"], about["test_fit"], about["image_size"]) == ("pad", "crop", 32)
        config = fitted.model.pretrained_cfg
        assert (about["mean"], about["std"]) == (list(config["mean"]), list(config["std"]))
    assert not (tmp_path / "companions.pt").exists()


def test_composites_are_of_images_from_all_over_the_held_out_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, shown = some_data(6, 24), []

    def keep(images: Tensor, *_: object, **__: object) -> None:
        shown.append((255 * images).round().to(torch.uint8))

    monkeypatch.setattr(results, "composite_rows", keep)
    wrapper = AdversarialBackground(tiny_classifier(), mask_generator="nonzero", schedule=Schedule(0, 0))
    history = [{"phases": ["classifier"]}, {"phases": ["classifier", "adversarial"]}]
    draw_composites(Fitted(wrapper.model, wrapper, history[:1]), data, tmp_path / "figures")
    assert shown == []
    draw_composites(Fitted(wrapper.model, wrapper, history), data, tmp_path / "figures")
    (images,) = shown
    found = [
        next(index for index, one in enumerate(data.held_out_images) if torch.equal(one, image)) for image in images
    ]
    assert (len(found), found[0], found[-1]) == (8, 0, 23)
    assert all(2 <= after - before <= 4 for before, after in pairwise(found))

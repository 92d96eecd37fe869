"""Classifiers, their checkpoints and their accuracy."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from advbg.benchmark.checkpoints import load_classifier, save_classifier
from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.evaluation import accuracy, accuracy_before_paper_backgrounds, accuracy_before_photographs

_DESCRIPTION = {"image_size": 32, "channels": 1, "classes": 10}


class _Corner(nn.Module):
    """Says class 1 where the pixel in the corner is white."""

    def forward(self, images: Tensor) -> Tensor:
        white = images[:, 0, 0, 0]
        return torch.stack([1 - white, white], dim=1)


def test_the_papers_classifier_has_its_layers() -> None:
    classifier = PaperClassifier(image_size=32, channels=3, classes=7)
    sizes = [tuple(module.weight.shape[:2]) for module in classifier if hasattr(module, "weight")]
    assert sizes == [(32, 3), (64, 32), (128, 64), (128, 2048), (7, 128)]
    assert classifier(torch.rand(2, 3, 32, 32)).shape == (2, 7)
    assert PaperClassifier(image_size=8)(torch.rand(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize("image_size", [4, 28, 0])
def test_an_image_size_that_is_no_power_of_two_is_refused(image_size: int) -> None:
    with pytest.raises(ValueError, match=rf"`image_size` \(={image_size}\)"):
        PaperClassifier(image_size=image_size)


def test_accuracy_is_the_percentage_of_right_answers_over_all_batches() -> None:
    images = torch.zeros(1203, 1, 4, 4)
    images[::3] = 1
    model = _Corner().train()
    assert accuracy(model, images, torch.zeros(1203).long()) == pytest.approx(100 * 802 / 1203)
    assert model.training


def test_no_images_are_refused() -> None:
    with pytest.raises(ValueError, match="`images` is empty"):
        accuracy(_Corner(), torch.zeros(0, 1, 4, 4), torch.zeros(0).long())


def test_each_column_is_the_accuracy_before_its_background() -> None:
    images = torch.zeros(4, 1, 32, 32)
    images[:, :, 14:18, 14:18] = 1
    columns = accuracy_before_paper_backgrounds(_Corner(), images, torch.zeros(4).long())
    assert list(columns) == ["original", "stripes", "board", "border", "circles", "clock", "random"]
    # The corner is white in the border, and where the authors' seed says so.
    assert columns["original"] == columns["board"] == columns["circles"] == columns["clock"] == 100
    assert columns["border"] == 0


def test_each_photograph_is_a_row_and_made_grey_at_the_images_size(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40), (255, 255, 255)).save(tmp_path / "white.png")
    (tmp_path / "deep").mkdir()
    Image.new("L", (20, 20), 0).save(tmp_path / "deep" / "black.png")
    images = torch.zeros(4, 1, 32, 32)
    images[:, :, 14:18, 14:18] = 1
    rows = accuracy_before_photographs(_Corner(), images, torch.ones(4).long(), tmp_path)
    assert rows == {"deep/black.png": 0.0, "white.png": 100.0}


def _saved(path: Path) -> PaperClassifier:
    model = PaperClassifier().eval()
    save_classifier(model, path, dataset="digits", method="baseline", **_DESCRIPTION)
    return model


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    model = _saved(tmp_path / "model.safetensors")
    loaded = load_classifier(tmp_path / "model.safetensors", **_DESCRIPTION)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_checkpoint_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_classifier(path, **_DESCRIPTION)
    _saved(path)
    with pytest.raises(ValueError, match=r"is for .*'channels': 1.*but the data set has .*'channels': 3"):
        load_classifier(path, image_size=32, channels=3, classes=10)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        load_classifier(path, **_DESCRIPTION)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not written by `advbg reproduce`"):
        load_classifier(path, **_DESCRIPTION)
    description = '{"classifier": {"image_size": 32, "channels": 1, "classes": 10}}'
    save_file({"weight": torch.zeros(2)}, path, metadata={"advbg": description})
    with pytest.raises(ValueError, match="does not hold the weights it describes"):
        load_classifier(path, **_DESCRIPTION)

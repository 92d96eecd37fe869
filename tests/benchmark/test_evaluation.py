"""Classifiers, their checkpoints and their accuracy."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from advbg.backgrounds.patterns import PATTERNS, random
from advbg.benchmark import evaluation
from advbg.benchmark.checkpoints import load_classifier, save_classifier
from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.evaluation import (
    accuracy,
    accuracy_before_paper_backgrounds,
    accuracy_before_photographs,
    sensitivity,
)

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
    loaded = load_classifier(tmp_path / "model.safetensors", dataset="digits", **_DESCRIPTION)
    assert not loaded.training
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[name])


def test_a_checkpoint_that_cannot_be_used_is_refused_with_the_reason(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_classifier(path, dataset="digits", **_DESCRIPTION)
    _saved(path)
    with pytest.raises(ValueError, match=r"was trained on digits, not on fashion-mnist"):
        load_classifier(path, dataset="fashion-mnist", **_DESCRIPTION)
    with pytest.raises(ValueError, match=r"is for .*'channels': 1.*but the data set has .*'channels': 3"):
        load_classifier(path, dataset="digits", image_size=32, channels=3, classes=10)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="damaged"):
        load_classifier(path, dataset="digits", **_DESCRIPTION)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="not written by `advbg reproduce`"):
        load_classifier(path, dataset="digits", **_DESCRIPTION)
    description = '{"dataset": "digits", "classifier": {"image_size": 32, "channels": 1, "classes": 10}}'
    save_file({"weight": torch.zeros(2)}, path, metadata={"advbg": description})
    with pytest.raises(ValueError, match="does not hold the weights it describes"):
        load_classifier(path, dataset="digits", **_DESCRIPTION)


class _Recorder(_Corner):
    """Notes what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, images: Tensor) -> Tensor:
        self.batches.append(len(images))
        self.modes.add((self.training, torch.is_grad_enabled()))
        return super().forward(images)


class _Broken(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        raise RuntimeError("broken")


def _object_in_the_middle(count: int = 2) -> Tensor:
    images = torch.zeros(count, 1, 32, 32)
    images[:, :, 14:18, 14:18] = 1
    return images


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 1)), min_size=1, max_size=40), st.integers(1, 50))
def test_accuracy_does_not_depend_on_the_size_of_batches(pairs: list[tuple[bool, int]], batch_size: int) -> None:
    images = torch.tensor([float(white) for white, _ in pairs])[:, None, None, None].expand(-1, 1, 2, 2)
    right = sum(white == target for white, target in pairs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_BATCH_SIZE", batch_size)
        found = accuracy(_Corner(), images, torch.tensor([target for _, target in pairs]))
    assert found == pytest.approx(100 * right / len(pairs), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_tested_in_evaluation_mode_without_gradients_and_left_as_it_was(training: bool) -> None:
    model = _Recorder().train(training)
    accuracy(model, torch.zeros(250, 1, 2, 2), torch.zeros(250).long())
    assert model.modes == {(False, False)}
    assert model.batches == [100, 100, 50]
    assert model.training == training


def test_a_model_that_fails_is_left_in_training_mode() -> None:
    model = _Broken().train()
    with pytest.raises(RuntimeError, match="broken"):
        accuracy(model, torch.zeros(1, 1, 2, 2), torch.zeros(1).long())
    assert model.training


def test_every_paper_background_is_the_one_of_its_column() -> None:
    columns = accuracy_before_paper_backgrounds(_Corner(), _object_in_the_middle(), torch.ones(2).long())
    corners = {name: draw(32)[0, 0].item() for name, draw in PATTERNS.items()}
    assert columns == {"original": 0.0, **{name: 100 * corner for name, corner in corners.items()}}


def test_the_sensitivity_is_the_accuracy_before_white_pixels_at_every_rate_of_the_paper() -> None:
    rates = ["0.0", *(f"0.0{digit}" for digit in range(1, 10)), *(f"0.{digit}" for digit in range(1, 10)), "1.0"]
    columns = sensitivity(_Corner(), _object_in_the_middle(), torch.ones(2).long())
    assert list(columns) == rates
    # The authors' draws at every rate, of which the larger ones reach the corner.
    assert columns == {rate: 100 * random(32, rate=float(rate))[0, 0].item() for rate in rates}
    assert set(columns.values()) == {0.0, 100.0}


def test_the_middle_of_a_photograph_is_the_background(tmp_path: Path) -> None:
    wide = Image.new("L", (90, 30), 0)
    wide.paste(255, (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    rows = accuracy_before_photographs(_Corner(), _object_in_the_middle(), torch.ones(2).long(), tmp_path)
    assert rows == {"wide.png": 100.0}


def test_a_photograph_is_turned_as_its_camera_was_held(tmp_path: Path) -> None:
    image = Image.new("L", (32, 32), 255)
    image.paste(0, (0, 0, 32, 16))
    turned = Image.Exif()
    # Stored upside down.
    turned[0x0112] = 3
    image.save(tmp_path / "turned.png", exif=turned)
    image.save(tmp_path / "upright.png")
    rows = accuracy_before_photographs(_Corner(), _object_in_the_middle(), torch.ones(2).long(), tmp_path)
    assert rows == {"turned.png": 100.0, "upright.png": 0.0}


def test_photographs_are_rows_in_alphabetical_order_whatever_their_format(tmp_path: Path) -> None:
    names = ["a.bmp", "b.JPG", "c.jpeg", "d.png", "e.tif", "f.tiff", "g.webp"]
    for name in reversed(names):
        Image.new("RGB", (40, 40), (255, 255, 255)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    rows = accuracy_before_photographs(_Corner(), _object_in_the_middle(), torch.ones(2).long(), tmp_path)
    assert list(rows) == names
    assert set(rows.values()) == {100.0}


def test_an_unreadable_photograph_is_named_before_any_work_is_done(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    model = _Recorder()
    with pytest.raises(ValueError, match=r"b\.png cannot be read as an image"):
        accuracy_before_photographs(model, _object_in_the_middle(), torch.ones(2).long(), tmp_path)
    assert model.batches == []


def test_a_folder_that_is_missing_or_has_no_images_is_refused_by_name(tmp_path: Path) -> None:
    arguments = (_Corner(), _object_in_the_middle(), torch.ones(2).long())
    with pytest.raises(NotADirectoryError, match="nowhere"):
        accuracy_before_photographs(*arguments, tmp_path / "nowhere")
    with pytest.raises(ValueError, match=rf"{tmp_path}.* has no images"):
        accuracy_before_photographs(*arguments, tmp_path)

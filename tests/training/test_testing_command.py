"""`advbg test`: a model of `advbg train` on images that came later."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm import create_model
from timm.models import save_for_hf

from advbg.pixel_space import PixelSpace
from advbg.training.trained import load_trained
from tests.command_line import run
from tests.training.command_line import results_of, train
from tests.training.made_up import COLORS, a_folder, a_picture


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory) -> Path:
    """A short run, with a folder that it was tested on beside it."""
    root = tmp_path_factory.mktemp("run")
    outdoors = a_folder(root / "outdoors", 3, seed=80)
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert train(monkeypatch, folder, root / "run", "--method", "baseline", "--test", outdoors) == 0
    return root / "run"


def _tested(monkeypatch: pytest.MonkeyPatch, capsys, *arguments: object) -> dict:
    capsys.readouterr()
    assert run(monkeypatch, "test", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_it_finds_what_the_run_itself_has_found(finished: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    found = _tested(monkeypatch, capsys, finished / "model.safetensors", finished.parent / "outdoors")
    assert found["sets"] == {"outdoors": results_of(finished)["sets"]["outdoors"]}
    best = _tested(monkeypatch, capsys, finished / "best.safetensors", finished.parent / "outdoors")
    assert best["sets"]["outdoors"]["accuracy"] == results_of(finished)["best"]["accuracy"]["outdoors"]


def test_a_table_has_a_line_for_each_folder_and_the_run_stays_as_it_was(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    before = {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()}
    (tmp_path / "later" / "red").mkdir(parents=True)
    a_picture("red", 70).save(tmp_path / "later" / "red" / "x.png")
    (tmp_path / "later" / "red" / "broken.png").write_bytes(b"")
    folders = (finished.parent / "outdoors", tmp_path / "later")
    assert run(monkeypatch, "test", finished / "model.safetensors", *folders, "--skip-unreadable") == 0
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines() if "outdoors" in line or "later" in line]
    assert [(line[1], line[3]) for line in lines] == [("outdoors", "9"), ("later", "1")]
    assert "1 unreadable files were skipped" in output
    assert {file: file.read_bytes() for file in finished.rglob("*") if file.is_file()} == before


def test_images_become_square_as_they_did_in_the_runs_tests_or_as_is_said(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    seen = []

    def predict(model, pixels):
        seen.append(pixels)
        return torch.zeros(len(pixels), len(COLORS))

    monkeypatch.setattr("advbg.training.testing.predict", predict)
    (tmp_path / "tall" / "red").mkdir(parents=True)
    a_picture("red", 70, (64, 32)).save(tmp_path / "tall" / "red" / "x.png")
    for options in ((), ("--fit", "crop"), ("--fit", "pad")):
        _tested(monkeypatch, capsys, finished / "model.safetensors", tmp_path / "tall", *options)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert (seen[2][..., :4] == 255).all()


def test_a_trained_model_is_normalised_as_it_was_trained(finished: Path) -> None:
    trained = load_trained(finished / "model.safetensors")
    assert (trained.classes, trained.image_size, trained.test_fit) == (tuple(COLORS), 32, "crop")
    assert not trained.model.training
    theirs = PixelSpace.of(create_model("test_efficientnet"))
    ours = PixelSpace.of(trained.model)
    assert (ours.mean, ours.std) == (theirs.mean, theirs.std)
    weights = load_file(finished / "model.safetensors")
    assert all(torch.equal(tensor, weights[name]) for name, tensor in trained.model.state_dict().items())


def test_mistakes_are_one_line(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("other/purple", "copied/red"):
        Path(name).mkdir(parents=True)
        a_picture(seed=97).save(Path(name) / "x.png")
    for file in json.loads((finished / "split.json").read_text())["training"]:
        shutil.copy(file, f"copied/red/{Path(file).parent.name}-{Path(file).name}")
    Path("other.safetensors").write_bytes(b"x")
    model, outdoors = finished / "model.safetensors", finished.parent / "outdoors"
    for arguments, message in (
        ((finished, outdoors), "is a folder: name a file in it"),
        ((model, "nowhere"), "`FOLDER` (='nowhere') is not a directory"),
        ((model, "other"), "`FOLDER` (='other') has classes that the training folder has not: purple"),
        (
            (model, "copied"),
            "`FOLDER` (='copied') has 24 of its 25 images from the images of the run, which are trained on",
        ),
        ((model, outdoors, outdoors), "names a folder twice"),
        ((model, outdoors, "--fit", "stretch"), "`fit` (='stretch') must be one of pad, crop"),
        ((model, outdoors, "--device", "tpu"), "`device` (='tpu') cannot be computed on"),
        (("nowhere.safetensors", outdoors), "model 'nowhere.safetensors' does not exist"),
        (("other.safetensors", outdoors), "model 'other.safetensors' is damaged or no safetensors file"),
    ):
        assert run(monkeypatch, "test", *arguments) == 2
        error = capsys.readouterr().err.strip()
        assert error.startswith("advbg: ")
        assert message in error
        assert len(error.splitlines()) == 1


def test_a_model_needs_nothing_of_its_run_but_its_file(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    shutil.copy(finished / "model.safetensors", tmp_path / "of mine.safetensors")
    found = _tested(monkeypatch, capsys, tmp_path / "of mine.safetensors", finished.parent / "outdoors")
    assert found["sets"] == {"outdoors": results_of(finished)["sets"]["outdoors"]}
    (tmp_path / "split.json").write_text('{"train": 0.8}')  # of something else
    assert run(monkeypatch, "test", tmp_path / "of mine.safetensors", finished.parent / "outdoors") == 0
    assert "says what was trained on: whether that is tested, is not known" in capsys.readouterr().err


def test_what_was_trained_on_is_found_from_anywhere_or_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    a_folder(tmp_path / "there" / "images", 5)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    assert train(monkeypatch, Path("images"), "run", "--method", "baseline", "--epochs", 1) == 0
    monkeypatch.chdir(tmp_path / "here")
    assert run(monkeypatch, "test", "../there/run/model.safetensors", "../there/images") == 2
    assert "of its 15 images from the images of the run, which are trained on" in capsys.readouterr().err
    (tmp_path / "there" / "images").rename(tmp_path / "moved")
    assert run(monkeypatch, "test", "../there/run/model.safetensors", "../moved") == 0
    assert "files are not there to be compared" in capsys.readouterr().err


def test_a_model_of_a_folder_is_tested_without_the_folder(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("shared").mkdir()
    described = {"mean": [0.4] * 3, "std": [0.3] * 3, "classifier": "classifier", "first_conv": "conv_stem"}
    config = {"architecture": "test_efficientnet", "num_classes": 5, "pretrained_cfg": described}
    Path("shared/config.json").write_text(json.dumps(config))
    options = ("--model", "local-dir:shared", "--method", "baseline", "--epochs", 1)
    assert train(monkeypatch, folder, "run", *options) == 0
    shutil.rmtree("shared")
    trained = load_trained(Path("run/model.safetensors"))
    assert PixelSpace.of(trained.model).mean == (0.4, 0.4, 0.4)


def test_a_model_that_came_from_a_folder_is_tested_without_it_at_the_size_that_the_folder_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    source, outdoors = tmp_path / "source", a_folder(tmp_path / "outdoors", 3, seed=80)
    arguments = {"depth": 2, "img_size": 64}
    save_for_hf(create_model("test_vit", num_classes=5, **arguments), source, model_args=arguments)
    short = ("--pretrained", "--epochs", 1, "--batch-size", 12, "--method", "baseline", "--tuning", "plain")
    where = ("--test", outdoors, "--output", tmp_path / "run")
    assert run(monkeypatch, "train", folder, "--model", f"local-dir:{source}", *short, *where) == 0
    shutil.rmtree(source)
    assert load_trained(tmp_path / "run" / "model.safetensors").image_size == 64
    found = _tested(monkeypatch, capsys, tmp_path / "run" / "model.safetensors", outdoors)
    assert found["sets"]["outdoors"] == results_of(tmp_path / "run")["sets"]["outdoors"]


def test_a_pretrained_model_whose_new_classifier_has_fewer_layers_than_its_first_is_tested(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    weights, outdoors = tmp_path / "weights.safetensors", a_folder(tmp_path / "outdoors", 3, seed=80)
    save_file(create_model("repvit_m0_9", num_classes=5).state_dict(), weights)
    short = ("--epochs", 1, "--batch-size", 12, "--image-size", 32, "--method", "baseline", "--tuning", "plain")
    where = ("--weights", weights, "--test", outdoors, "--output", tmp_path / "run")
    assert run(monkeypatch, "train", folder, "--model", "repvit_m0_9", *short, *where) == 0
    found = _tested(monkeypatch, capsys, tmp_path / "run" / "model.safetensors", outdoors)
    assert found["sets"]["outdoors"] == results_of(tmp_path / "run")["sets"]["outdoors"]

"""`advbg train` as a user meets it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm import create_model

from advbg.backgrounds.patterns import PATTERNS
from advbg.preview import rebuild
from advbg.training import run as training_run
from advbg.training.prepare import RunSettings, prepare
from advbg.training.settings import FitSettings
from tests.command_line import run
from tests.training.command_line import results_of, train
from tests.training.made_up import COLORS, a_folder, a_picture

SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture(scope="module")
def finished(folder, tmp_path_factory) -> Path:
    """A finished run with two test folders, one of which lacks a class."""
    root = tmp_path_factory.mktemp("run")
    a_folder(root / "outdoors", 2, seed=50)
    (root / "indoors" / "red").mkdir(parents=True)
    a_picture("red", 60).save(root / "indoors" / "red" / "x.png")
    with pytest.MonkeyPatch.context() as monkeypatch:
        tests = ("--test", root / "outdoors", "--test", root / "indoors")
        assert train(monkeypatch, folder, root / "run", *tests, "--tensorboard") == 0
    return root / "run"


def test_a_run_leaves_weights_results_and_figures(finished: Path) -> None:
    results = results_of(finished)
    changed = [f"held-out, before {name}" for name in PATTERNS]
    assert list(results["sets"]) == ["held-out", "outdoors", "indoors", *changed]
    assert [part["n"] for part in results["sets"].values()] == [6, 6, 1, *[6] * 6]
    assert results["classes"] == sorted(COLORS)
    # A block is a third of its picture's height and width.
    assert results["images"].pop("background_share") == pytest.approx(100 * 8 / 9, abs=3)
    # Two of the made-up pictures are alike, by chance.
    counts = {
        "size": 32,
        "training": 24,
        "held_out": 6,
        "replaceable": 6,
        "copies": 1,
        "unreadable": [],
        "passed_over": {},
    }
    assert results["images"] == counts
    assert list(results["phase_seconds"]) == ["first guess", "classifier", "mask", "adversarial"]
    assert {"machine", "versions", "settings", "seconds", "seed", "method", "model"} < set(results)
    assert 2 <= results["best"]["epoch"] <= 3
    assert list(results["best"]["accuracy"]) == list(results["sets"])
    history = json.loads((finished / "history.json").read_text())
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3]
    assert [sum(epoch["steps"].values()) for epoch in history] == [4, 4, 4]
    assert all(list(epoch["steps"]) == epoch["phases"] for epoch in history)
    figures = sorted(file.name for file in (finished / "figures").iterdir())
    assert figures == ["composites-epoch-02.png", "composites-epoch-03.png"]
    assert np.asarray(Image.open(finished / "figures" / figures[0])).std() > 0
    assert any((finished / "tensorboard").iterdir())


def test_its_weights_load_into_the_plain_model(finished: Path) -> None:
    for name in ("model", "best"):
        create_model("test_efficientnet", num_classes=3).load_state_dict(load_file(finished / f"{name}.safetensors"))


@pytest.mark.parametrize("one_size", [False, True])
def test_its_weights_load_without_us_as_the_documentation_says(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_size: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if one_size:
        options = ("--model", "test_vit", "--method", "baseline", "--epochs", 1)
        assert train(monkeypatch, folder, "runs/train-001", *options) == 0
    else:
        shutil.copytree(finished, "runs/train-001")
    page = (Path(__file__).parents[2] / "docs" / "train.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```py\n(.*?)```", page, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, "train.md", "exec"), names)
    assert names["about"].keys() >= {"model", "options", "classes", "image_size", "test_fit", "mean", "std"}
    weights = load_file("runs/train-001/model.safetensors")
    for name, tensor in names["model"].state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    assert not names["model"].training


def test_its_companions_can_be_shown_again(finished: Path) -> None:
    companions = rebuild(torch.load(finished / "companions.pt", weights_only=True))
    assert companions.image_shape == (3, 32, 32)


def test_its_split_names_every_file_once(finished: Path, folder: Path) -> None:
    split = json.loads((finished / "split.json").read_text())
    assert (len(split["training"]), len(split["held_out"])) == (24, 6)
    assert sorted([*split["training"], *split["held_out"]]) == sorted(map(str, folder.rglob("*.png")))


def test_failures_are_files_with_their_truth(finished: Path) -> None:
    failures = results_of(finished)["sets"]["outdoors"]["failures"]
    assert failures
    for failure in failures:
        assert Path(failure["file"]).parent.name == failure["truth"] != failure["predicted"]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def stop(fitted, *_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_run, "draw_composites", stop)
    assert train(monkeypatch, folder, "run") == 130
    assert "--resume goes on after the last whole epoch" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert train(monkeypatch, folder, "run", "--resume") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in lines] == ["epoch 2/3 (mask, adversarial)", "epoch 3/3 (adversarial)"]
    losses = [epoch["held_out_loss"] for epoch in json.loads(Path("run/history.json").read_text())]
    assert f"held-out loss {losses[1]:.3f}, held-out accuracy" in lines[0]
    ours, theirs = (load_file(path / "model.safetensors") for path in (Path("run"), finished))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert results_of(Path("run"))["sets"]["held-out"] == results_of(finished)["sets"]["held-out"]


def test_a_run_goes_on_only_with_the_same_settings_and_files(
    finished: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path
) -> None:
    assert train(monkeypatch, folder, finished) == 2
    assert "holds a run already: pass --resume" in capsys.readouterr().err
    assert train(monkeypatch, folder, finished, "--resume", "--fit", "crop") == 2
    assert "has `fit` 'pad', not 'crop'" in capsys.readouterr().err
    assert train(monkeypatch, folder, finished, "--resume", "--seed", 1) == 2
    assert "has `seed` 0, not 1" in capsys.readouterr().err
    changing = a_folder(tmp_path / "changing", 4)
    assert train(monkeypatch, changing, tmp_path / "run", "--method", "baseline") == 0
    a_picture().save(changing / "red" / "new.png")
    assert train(monkeypatch, changing, tmp_path / "run", "--method", "baseline", "--resume") == 2
    assert "the training folder has other files than" in capsys.readouterr().err


def test_runs_are_numbered_and_the_newest_is_resumed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ("--image-size", 16, "--epochs", 1, "--batch-size", 12, "--method", "baseline")
    command = ("train", folder, "--model", "test_resnet", *quick)
    for extra in ((), (), ("--resume",)):
        assert run(monkeypatch, *command, *extra) == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == ["train-001", "train-002"]


def test_a_baseline_has_neither_companions_nor_their_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(monkeypatch, folder, tmp_path / "run", "--method", "baseline") == 0
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written.isdisjoint({"companions.pt", "figures", "tensorboard"})
    assert "held-out, before clock" in results_of(tmp_path / "run")["sets"]


def test_photographs_and_mixtures_are_backgrounds(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(monkeypatch, folder, tmp_path / "a", "--method", "photographs", "--photographs", folder) == 0
    more = ("--clutter", 0.25, "--distractors", 1.5, "--copies", 0.75, "--candidates", 3)
    assert train(monkeypatch, folder, tmp_path / "b", *more, "--background", f"adversarial=2,{folder}=1") == 0
    state = torch.load(tmp_path / "b" / "companions.pt", weights_only=True)
    assert state["_extra_state"]["options"]["background"] == "2 adversarial + 1 Photographs"
    said = {"clutter": 0.25, "distractors": 1.5, "copies": 0.75, "candidates": 3}
    assert state["_extra_state"]["options"].items() >= said.items()


def test_images_of_all_kinds_are_trained_on_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = a_folder(tmp_path / "images", 3)
    picture, exif = a_picture("red"), Image.Exif()
    exif[0x0112] = 8
    kinds = {mode: picture.convert(mode) for mode in ("L", "LA", "P", "RGBA", "1", "I;16")}
    for mode, image in kinds.items():
        image.save(
            folder / "red" / f"{mode.replace(';', '')} ñ 日本.png", **({"transparency": 0} if mode == "P" else {})
        )
    picture.convert("CMYK").save(folder / "red" / "CMYK.JPEG")
    picture.save(folder / "red" / "turned.jpg", exif=exif)
    picture.resize((5, 7)).save(folder / "red" / "tiny.webp")
    assert train(monkeypatch, folder, tmp_path / "run") == 0
    images = results_of(tmp_path / "run")["images"]
    assert (images["training"] + images["held_out"], images["unreadable"]) == (18, [])


def test_real_photographs_of_two_classes_are_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    office = SHARED_DATA / "office10"
    if not office.is_dir():
        pytest.skip(f"{office} is absent")
    for part in ("amazon", "webcam"):
        for name in ("bike", "mug"):
            (tmp_path / part / name).mkdir(parents=True)
            for file in sorted((office / part / name).iterdir())[:12]:
                (tmp_path / part / name / file.name).symlink_to(file)
    command = ("--test", tmp_path / "webcam", "--method", "baseline", "--epochs", 2)
    assert train(monkeypatch, tmp_path / "amazon", tmp_path / "run", *command) == 0
    assert results_of(tmp_path / "run")["sets"]["webcam"]["n"] == 24


def test_a_pre_trained_model_is_tuned_gently_unless_it_is_said_otherwise(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("test_efficientnet", num_classes=7).state_dict(), file)
    told = {name: ("--tuning", name) for name in ("plain", "ordinary")}
    told |= {"gentle": (), "faster": ("--learning-rate", "0.01")}
    found = {}
    for name, more in told.items():
        assert train(monkeypatch, folder, tmp_path / name, "--weights", file, "--method", "baseline", *more) == 0
        settings = results_of(tmp_path / name)["settings"]
        names = ("tuning", "learning_rate", "classifier_share", "mask_share", "clean_share")
        found[name] = tuple(settings[part] for part in names)
    assert found == {
        "gentle": ("gentle", 2e-4, 0.05, 0.1, 0.25),
        "faster": ("gentle", 0.01, 0.05, 0.1, 0.25),
        "plain": ("plain", 5e-4, 0.05, 0.1, 0.25),
        "ordinary": ("ordinary", 5e-4, 0.01, 0.02, 0.1),
    }


@pytest.mark.parametrize(("tuning", "small"), [("plain", True), ("ordinary", False)])
def test_an_ordinary_tuning_alone_begins_with_the_classifier_that_timm_makes(
    tuning: str, small: bool, folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("test_efficientnet", num_classes=7).state_dict(), file)
    training = FitSettings.of(tuning, method="baseline")
    model: Any = prepare(RunSettings(str(folder), "test_efficientnet", weights=str(file), training=training)).model
    head = model.get_classifier()
    assert (head.weight.abs().max() <= head.in_features**-0.5) == small


def test_a_test_folder_called_as_what_is_held_out_keeps_its_own_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_folder(tmp_path / "held-out", 3, seed=70)
    assert train(monkeypatch, folder, tmp_path / "run", "--test", "held-out", "--method", "baseline") == 0
    counts = {name: part["n"] for name, part in results_of(tmp_path / "run")["sets"].items()}
    assert (counts["held-out"], counts["./held-out"]) == (6, 9)


def test_preview_takes_the_companions_of_the_newest_training(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "train-001")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "preview", folder, "--output", "shown.png") == 0
    assert np.asarray(Image.open("shown.png")).std() > 0

"""`advbg train` as a user meets it."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm import create_model

from advbg import cli
from advbg.backgrounds.patterns import PATTERNS
from advbg.preview import rebuild
from advbg.training import run as training_run
from tests.training.made_up import COLORS, a_folder, a_picture

SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["advbg", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def train(monkeypatch, folder, output, *arguments) -> int:
    quick = ("--model", "test_efficientnet", "--image-size", 32, "--epochs", 3, "--batch-size", 6)
    return run(monkeypatch, "train", folder, *quick, "--output", output, *arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three classes of ten images."""
    return a_folder(tmp_path_factory.mktemp("images") / "train", 10)


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


def results_of(output):
    return json.loads((output / "results.json").read_text())


def test_a_run_leaves_weights_results_and_figures(finished: Path) -> None:
    results = results_of(finished)
    changed = [f"held-out, before {name}" for name in PATTERNS]
    assert list(results["sets"]) == ["held-out", "outdoors", "indoors", *changed]
    assert [part["n"] for part in results["sets"].values()] == [6, 6, 1, *[6] * 6]
    assert results["classes"] == sorted(COLORS)
    assert results["images"] == {"size": 32, "training": 24, "held_out": 6, "unreadable": [], "passed_over": {}}
    assert list(results["phase_seconds"]) == ["first guess", "classifier", "mask", "adversarial"]
    assert {"machine", "versions", "settings", "seconds", "seed", "method", "model"} < set(results)
    assert 2 <= results["best"]["epoch"] <= 3
    assert list(results["best"]["accuracy"]) == list(results["sets"])
    assert [epoch["epoch"] for epoch in json.loads((finished / "history.json").read_text())] == [1, 2, 3]
    figures = sorted(file.name for file in (finished / "figures").iterdir())
    assert figures == ["composites-epoch-02.png", "composites-epoch-03.png"]
    assert np.asarray(Image.open(finished / "figures" / figures[0])).std() > 0
    assert any((finished / "tensorboard").iterdir())


def test_its_weights_load_into_the_plain_model(finished: Path) -> None:
    for name in ("model", "best"):
        create_model("test_efficientnet", num_classes=3).load_state_dict(load_file(finished / f"{name}.safetensors"))


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
    command = ("train", folder, "--model", "test_resnet", "--image-size", 16, "--epochs", 1, "--method", "baseline")
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
    assert (
        train(monkeypatch, folder, tmp_path / "b", "--clutter", 0.25, "--background", f"adversarial=2,{folder}=1") == 0
    )
    state = torch.load(tmp_path / "b" / "companions.pt", weights_only=True)
    assert state["_extra_state"]["options"]["background"] == "2 adversarial + 1 Photographs"
    assert state["_extra_state"]["options"]["clutter"] == 0.25


def test_unreadable_files_are_skipped_on_demand_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    folder = a_folder(tmp_path / "images", 5)
    broken = folder / "blå" / "3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (folder / "notes.txt").write_text("x")
    assert train(monkeypatch, folder, tmp_path / "run") == 2
    assert "blå/3.png cannot be read as an image" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert train(monkeypatch, folder, tmp_path / "run", "--skip-unreadable") == 0
    assert "1 unreadable, 1 that are no images" in " ".join(capsys.readouterr().out.split())
    images = results_of(tmp_path / "run")["images"]
    assert (images["unreadable"], images["passed_over"]) == ([str(broken)], {".txt": 1})


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


def test_stopping_while_images_are_read_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("advbg.training.prepare.load_images", stop)
    assert train(monkeypatch, folder, tmp_path / "run") == 130
    assert "stopped before any training" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "resnet_of_mine"], "`model` (='resnet_of_mine') is no model of timm"),
        (["--method", "attention"], "`method` (='attention') must be one of"),
        (["--epochs", "0"], "`epochs` (=0) must be 1 or more"),
        (["--image-size", "4"], "`image_size` (=4) must be 8 or more"),
        (["--validation-share", "1"], "`validation_share` (=1.0) must be a share in (0, 1)"),
        (["--fit", "stretch"], "`fit` (='stretch') must be one of pad, crop"),
        (["--test-fit", "stretch"], "`test_fit` (='stretch') must be one of pad, crop"),
        (["--device", "tpu"], "`device` (='tpu') must be one of auto, cpu, cuda"),
        (["--weights", "nowhere.pth"], "`weights` (='nowhere.pth') does not exist"),
        (["--weights", __file__, "--pretrained"], "are two answers to one question"),
        (["--tuning", "soft"], "`tuning` (='soft') must be one of plain, gentle"),
        (["--tuning", "gentle"], "`tuning` (='gentle') needs a pre-trained model: pass `weights` or `pretrained`"),
        (["--weights", __file__], "is damaged or no file of weights"),
        (["--test", "nowhere"], "`--test` (='nowhere') is not a directory"),
        (["--test", "same", "--test", "./same"], "names a folder twice"),
        (["--test", "other"], "classes that the training folder has not: purple"),
        (["--background", "nowhere"], "`background` (='nowhere') must be one of"),
        (["--photographs", "."], "must be a folder if `method`"),
        (["--epochs", "1", "--batch-size", "99"], "are 1 steps, but there are 3 phases"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments, message
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("other/purple", "same/blå"):
        Path(name).mkdir(parents=True)
        a_picture().save(Path(name) / "x.png")
    assert train(monkeypatch, folder, "run", *arguments) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert error.startswith("advbg: ")
    assert len(error.splitlines()) == 1
    assert not Path("run").exists()


def test_folders_that_cannot_be_trained_on_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "one" / "only").mkdir(parents=True)
    a_picture().save(tmp_path / "one" / "only" / "x.png")
    for folder, message in (("nowhere", "is not a directory"), ("one", "has one class only: only")):
        assert train(monkeypatch, tmp_path / folder, tmp_path / "run") == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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
    told = {"gentle": (), "faster": ("--learning-rate", "0.01"), "plain": ("--tuning", "plain")}
    found = {}
    for name, more in told.items():
        assert train(monkeypatch, folder, tmp_path / name, "--weights", file, "--method", "baseline", *more) == 0
        settings = results_of(tmp_path / name)["settings"]
        found[name] = tuple(settings[part] for part in ("tuning", "learning_rate", "classifier_share"))
    assert found == {"gentle": ("gentle", 2e-4, 0.05), "faster": ("gentle", 0.01, 0.05), "plain": ("plain", 5e-4, 0.3)}


def test_a_model_that_cannot_be_tuned_gently_is_refused_before_images_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("resnetv2_18", num_classes=7).state_dict(), file)
    monkeypatch.setattr("advbg.training.prepare.load_images", lambda *_, **__: pytest.fail("images were read"))
    assert train(monkeypatch, folder, tmp_path / "run", "--model", "resnetv2_18", "--weights", file) == 2
    assert "that of ResNetV2 is Conv2d: pass `--tuning plain`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_test_folder_called_as_what_is_held_out_keeps_its_own_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    a_folder(tmp_path / "held-out", 3, seed=70)
    assert train(monkeypatch, folder, tmp_path / "run", "--test", "held-out", "--method", "baseline") == 0
    counts = {name: part["n"] for name, part in results_of(tmp_path / "run")["sets"].items()}
    assert (counts["held-out"], counts["./held-out"]) == (6, 9)


def test_images_are_counted_with_their_copies_and_the_test_folders_before_any_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    a_folder(tmp_path / "webcam", 1, seed=70)
    images = 2 * 30 + 3
    monkeypatch.setattr("advbg.training.prepare.load_images", lambda *_, **__: pytest.fail("images were read"))
    monkeypatch.setattr("advbg.training.folders.os.sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, memory))
    memory = 2 * images * 3 * 32**2
    with pytest.raises(pytest.fail.Exception):
        train(monkeypatch, folder, tmp_path / "run", "--test", tmp_path / "webcam", "--method", "baseline")
    memory -= 1
    assert train(monkeypatch, folder, tmp_path / "run", "--test", tmp_path / "webcam", "--method", "baseline") == 2
    assert "more than half of this machine's memory" in capsys.readouterr().err


def test_preview_takes_the_companions_of_the_newest_training(
    folder: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished, tmp_path / "runs" / "train-001")
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "preview", folder, "--output", "shown.png") == 0
    assert np.asarray(Image.open("shown.png")).std() > 0

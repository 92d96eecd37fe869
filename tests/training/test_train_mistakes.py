"""What `advbg train` refuses, and what it says."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import save_file
from timm import create_model

from tests.training.command_line import results_of, train
from tests.training.made_up import a_folder, a_picture


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
    assert "1 unreadable, 1 .txt" in " ".join(capsys.readouterr().out.split())
    images = results_of(tmp_path / "run")["images"]
    assert (images["unreadable"], images["passed_over"]) == ([str(broken)], {".txt": 1})


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
        (["--validation-share", "0.3", "--validation", "same"], "`validation_share` (=0.3) and `validation` (='same')"),
        (["--validation", "nowhere"], "`--validation` (='nowhere') is not a directory"),
        (["--validation", "other"], "`--validation` (='other') has classes that the training folder has not: purple"),
        (["--validation", "again"], "`--validation` (='again') has 1 of its 2 images from FOLDER"),
        (["--split-seed", "-1"], "`split_seed` (=-1) must be from 0 to 2**63 - 1"),
        (["--hflip", "1.5"], "`hflip` (=1.5) must be a share in [0, 1]"),
        (["--method", "baseline", "--placement", "0"], "`placement` (=0.0) makes no difference to `method` baseline"),
        (["--method", "paper", "--clean-share", "0"], "`clean_share` (=0.0) makes no difference to `method` paper"),
        (["--lighting", "-1"], "`lighting` (=-1.0) must be"),
        (["--device", "tpu"], "`device` (='tpu') cannot be computed on: Expected one of cpu, cuda"),
        (["--weights", "nowhere.pth"], "`weights` (='nowhere.pth') does not exist"),
        (["--weights", __file__, "--pretrained"], "are two answers to one question"),
        (["--tuning", "soft"], "`tuning` (='soft') must be one of plain, ordinary, gentle"),
        (["--tuning", "gentle"], "`tuning` (='gentle') needs a pre-trained model: pass `weights` or `pretrained`"),
        (["--hold-statistics"], "`hold_statistics` (=True) needs a pre-trained model: pass `weights` or"),
        (["--weights", __file__], "is damaged or no file of weights"),
        (["--test", "nowhere"], "`--test` (='nowhere') is not a directory"),
        (["--test", "same", "--test", "./same"], "names a folder twice"),
        (["--test", "again"], "has 1 of its 2 images from FOLDER, which are trained on: again/red/copy.png"),
        (["--test", "copied"], "has 1 of its 1 images from FOLDER, which are trained on: copied/red/other name.png"),
        (
            ["--test", "same", "--background", "same/blå"],
            "has 1 of its 1 images from the photographs, which are",
        ),
        (["--test", "other"], "classes that the training folder has not: purple"),
        (["--background", "nowhere"], "`background` (='nowhere') must be one of"),
        (["--photographs", "."], "must be a folder if `method`"),
        (["--method", "photographs", "--photographs", "nowhere"], "`photographs` (='nowhere') is not a directory"),
        (["--photographs", ""], "Invalid value for '--photographs': must not be empty"),
        (["--background", "empty"], "`background` (='empty') has no images"),
        (["--method", "baseline", "--epochs", "1", "--batch-size", "24"], "are a single step, at the end of whose"),
        (["--epochs", "1", "--batch-size", "99"], "are 1 steps, but there are 3 phases"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, arguments, message
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for name in ("other/purple", "same/blå"):
        Path(name).mkdir(parents=True)
        a_picture(seed=98).save(Path(name) / "x.png")
    Path("copied/red").mkdir(parents=True)
    shutil.copy(folder / "red" / "1.png", "copied/red/other name.png")
    Path("again/red").mkdir(parents=True)
    a_picture(seed=99).save("again/red/new.png")
    Path("again/red/copy.png").symlink_to(folder / "red" / "0.png")
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


def test_a_model_that_cannot_be_tuned_gently_is_refused_before_images_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("resnetv2_18", num_classes=7).state_dict(), file)
    monkeypatch.setattr("advbg.training.prepare.load_images", lambda *_, **__: pytest.fail("images were read"))
    assert train(monkeypatch, folder, tmp_path / "run", "--model", "resnetv2_18", "--weights", file) == 2
    assert "that of ResNetV2 is Conv2d: pass `--tuning plain`" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


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


def test_photographs_that_are_kept_in_memory_have_to_fit_in_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "photographs").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (300, 200)).save(tmp_path / "photographs" / f"{name}.png")
    monkeypatch.setattr("advbg.training.run.fit", lambda *_, **__: pytest.fail("trained"))
    monkeypatch.setattr("advbg.training.folders.os.sysconf", lambda name: {"SC_PAGE_SIZE": 1}.get(name, memory))
    memory = 2 * 2 * 300 * 200 * 3
    options = ("--method", "photographs", "--photographs", tmp_path / "photographs")
    with pytest.raises(pytest.fail.Exception):
        train(monkeypatch, folder, tmp_path / "fits", *options)
    memory -= 1
    assert train(monkeypatch, folder, tmp_path / "run", *options) == 2
    message = " ".join(capsys.readouterr().err.split())
    assert "needs 0.0 GB for images, more than half of this machine's memory" in message
    assert "shrink them, or pass fewer" in message

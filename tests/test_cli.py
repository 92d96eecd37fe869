"""The command line as a user meets it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from advbg import preview_command
from advbg.benchmark import reproduce as experiment
from advbg.benchmark import training
from advbg.benchmark.paper_results import COLUMNS
from tests.command_line import run
from tests.reproduced import REPRODUCE, make_run


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


def test_reproduce_writes_results_weights_and_figures(finished_run: Path) -> None:
    results = json.loads((finished_run / "results.json").read_text())
    described = ["dataset", "seed", "train_size", "settings", "machine", "versions"]
    assert list(results) == [*described, "methods", "paper"]
    assert (results["dataset"], results["seed"], results["train_size"]) == ("digits", 0, 64)
    assert list(results["methods"]) == ["baseline", "proposal"]
    for name, method in results["methods"].items():
        masks = ["mask"] if name == "proposal" else []
        assert list(method) == ["accuracy", "seconds", "phase_seconds", "sensitivity", *masks, "checkpoint"]
        assert method["seconds"] == pytest.approx(sum(method["phase_seconds"].values()), abs=0.2)
        assert tuple(method["accuracy"]) == COLUMNS
        assert all(0 <= value <= 100 for value in method["accuracy"].values())
        assert method["seconds"] > 0
        assert load_file(method["checkpoint"])
        assert Path(method["checkpoint"]) == finished_run / name / "model.safetensors"
    assert "| proposal |" in (finished_run / "results.md").read_text()
    for figure in ("accuracy.png", "overview.png", "proposal/composites.png", "proposal/backgrounds.png"):
        assert np.asarray(Image.open(finished_run / figure)).std() > 0


def test_a_seed_reproduces_a_run_and_another_changes_it(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(monkeypatch, *REPRODUCE, "--output", tmp_path / "same") == 0
    assert run(monkeypatch, *REPRODUCE, "--output", tmp_path / "other", "--seed", 1) == 0
    for name in ("baseline", "proposal"):
        first, same, other = (
            load_file(folder / name / "model.safetensors")
            for folder in (finished_run, tmp_path / "same", tmp_path / "other")
        )
        assert all(torch.equal(first[key], same[key]) for key in first)
        assert not any(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("stop_at", [1, 3, 4, 6])
def test_a_run_stopped_anywhere_goes_on_and_ends_the_same(
    stop_at: int,
    finished_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    batches, seen = training._batches, 0

    def interrupted(*arguments: object) -> object:
        nonlocal seen
        for batch in batches(*arguments):
            yield batch
            seen += 1
            if seen == 2 * stop_at - 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(training, "_batches", interrupted)
    output = tmp_path / "run"
    assert run(monkeypatch, *REPRODUCE, "--output", output) == 130
    assert "--resume" in capsys.readouterr().err
    monkeypatch.setattr(training, "_batches", batches)
    assert run(monkeypatch, *REPRODUCE, "--output", output, "--resume") == 0
    for name in ("baseline", "proposal"):
        whole, resumed = (load_file(folder / name / "model.safetensors") for folder in (finished_run, output))
        assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    accuracies = [json.loads((folder / "results.json").read_text())["methods"] for folder in (finished_run, output)]
    assert accuracies[0]["proposal"]["accuracy"] == accuracies[1]["proposal"]["accuracy"]


def test_a_row_that_was_measured_is_not_measured_again_and_stays_beside_other_rows(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shutil.copytree(finished_run, tmp_path / "run")
    measured = json.loads((output / "results.json").read_text())["methods"]
    tested = []

    def test_once(model: object, *_: object) -> dict[str, float]:
        tested.append(model)
        return dict.fromkeys(COLUMNS, 50.0)

    monkeypatch.setattr(experiment, "accuracy_before_paper_backgrounds", test_once)
    assert run(monkeypatch, *REPRODUCE, "--methods", "proposal,black", "--output", output, "--resume") == 0
    results = json.loads((output / "results.json").read_text())["methods"]
    assert len(tested) == 1
    assert list(results) == ["baseline", "black", "proposal"]
    assert {name: results[name] for name in measured} == measured
    (output / "results.json").write_text('{"methods')
    assert run(monkeypatch, *REPRODUCE, "--output", output, "--resume") == 2


def test_new_runs_get_a_folder_of_their_own_and_resume_takes_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["reproduce", "--train-size", "8", "--epochs", "0,0,1", "--methods", "baseline"]
    assert run(monkeypatch, *tiny) == 0
    assert run(monkeypatch, *tiny) == 0
    (tmp_path / "runs" / "digits-002" / "results.json").unlink()
    assert run(monkeypatch, *tiny, "--resume") == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["digits-001", "digits-002"]
    assert (tmp_path / "runs" / "digits-002" / "results.json").is_file()


@pytest.mark.parametrize("method", ["attention", "black", "noise", "random", "paper"])
def test_every_other_method_runs(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["--train-size", 40, "--epochs", "0,1,1", "--methods", method, "--output", tmp_path / "run"]
    assert run(monkeypatch, "reproduce", *arguments) == 0
    assert list(json.loads((tmp_path / "run" / "results.json").read_text())["methods"]) == [method]


def test_the_run_of_another_setting_is_not_resumed(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *REPRODUCE, "--output", finished_run, "--resume", "--seed", 5) == 2
    assert "has `seed` 0, not 5" in capsys.readouterr().err


def test_evaluate_gives_a_row_for_each_image_and_their_mean(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (50, 40), 0).save(tmp_path / "black.png")
    Image.new("RGB", (50, 40), (255, 255, 255)).save(tmp_path / "white.jpg")
    Image.new("L", (50, 40), 9).save(tmp_path / "[night].png")
    checkpoint = finished_run / "baseline" / "model.safetensors"
    arguments = ["evaluate", checkpoint, "--dataset", "digits", "--backgrounds", tmp_path]
    assert run(monkeypatch, *arguments, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    original = json.loads((finished_run / "results.json").read_text())["methods"]["baseline"]["accuracy"]["original"]
    assert list(printed["accuracy"]) == ["[night].png", "black.png", "white.jpg"]
    assert printed["accuracy"]["black.png"] == pytest.approx(original)
    assert printed["mean"] == pytest.approx(sum(printed["accuracy"].values()) / 3)
    assert run(monkeypatch, *arguments) == 0
    table = capsys.readouterr().out
    assert "white.jpg" in table
    assert "[night].png" in table
    assert f"{printed['mean']:.1f}" in table


def test_masks_are_rated_as_the_run_rated_them(
    finished_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    companions = finished_run / "proposal" / "companions.pt"
    assert run(monkeypatch, "masks", companions, "--dataset", "digits") == 0
    rated = json.loads(capsys.readouterr().out)
    assert rated.pop("dataset") == "digits"
    measured = json.loads((finished_run / "results.json").read_text())["methods"]["proposal"]["mask"]
    assert rated == pytest.approx(measured)


def test_photographs_are_a_row_where_their_folder_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photographs").mkdir()
    Image.fromarray(np.full((40, 40), 200, dtype=np.uint8)).save(tmp_path / "photographs" / "grey.png")
    reproduce = ("reproduce", "--train-size", 40, "--epochs", "0,1,1", "--methods", "photographs")
    reproduce = (*reproduce, "--output", tmp_path / "run")
    assert run(monkeypatch, *reproduce) == 2
    assert "`photographs` (=None) must be a folder" in capsys.readouterr().err
    assert run(monkeypatch, *reproduce, "--photographs", tmp_path / "photographs") == 0
    assert list(json.loads((tmp_path / "run" / "results.json").read_text())["methods"]) == ["photographs"]
    capsys.readouterr()
    companions = tmp_path / "run" / "photographs" / "companions.pt"
    preview = ("preview", tmp_path / "photographs", "--output", tmp_path / "one.png", "--companions", companions)
    assert run(monkeypatch, *preview) == 2
    assert "`background` (='Photographs') of these companions" in capsys.readouterr().err
    assert run(monkeypatch, *preview, "--background", tmp_path / "photographs") == 0


def test_preview_draws_images_masks_and_composites(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(18):
        Image.new("RGB", (40 + index, 30), (10 * index, 0, 0)).save(folder / f"{index:02}.png")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "runs" / "digits-001")
    assert run(monkeypatch, "preview", folder, "--output", "all.png") == 0
    assert "16 of 18 images" in capsys.readouterr().out
    companions = finished_run / "proposal" / "companions.pt"
    assert run(monkeypatch, "preview", folder / "00.png", "--output", "one.png", "--companions", companions) == 0
    with Image.open("all.png") as many, Image.open("one.png") as one:
        assert many.width > 3 * one.width


def test_preview_shows_some_of_every_class_of_a_folder(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("apple", "banana", "cherry"):
        (tmp_path / name).mkdir()
        for index in range(20):
            Image.new("L", (32, 32), 9 * index).save(tmp_path / name / f"{index:02}.png")
    read, shown = preview_command._read_whole, []
    monkeypatch.setattr(preview_command, "_read_whole", lambda file, *rest: shown.append(file) or read(file, *rest))
    arguments = ("--output", tmp_path / "all.png", "--companions", finished_run / "proposal" / "companions.pt")
    assert run(monkeypatch, "preview", tmp_path, *arguments) == 0
    counts = [sum(file.parent.name == name for file in shown) for name in ("apple", "banana", "cherry")]
    assert sum(counts) == 16
    assert min(counts) >= 5


def test_the_command_alone_prints_its_help_and_no_empty_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(monkeypatch)
    said = capsys.readouterr()
    assert "reproduce" in said.out
    assert said.err == ""


def test_names_in_no_encoding_are_printed_by_their_bytes(tmp_path: Path) -> None:
    script = (
        "import sys; from advbg import cli; sys.argv[1:] = ['--version']\ntry: cli.main()\nfinally: print('a\\udce9')"
    )
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=environment, check=True)
    assert done.stdout.splitlines()[-1] == rb"a\udce9"


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "advbg", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()[0]) == (0, "advbg")
    done = subprocess.run([sys.executable, "-m", "advbg", "nonsense"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr

"""Pages that compare runs."""

import json
import ntpath
from dataclasses import replace
from pathlib import Path

import pytest

from advbg.report.comparison import differences, remarks
from advbg.report.page import write_report
from advbg.report.runs import read_run, read_runs
from tests.command_line import run
from tests.report.made_up import Page, make_run, run_report
from tests.training.made_up import a_folder


def test_runs_are_compared_set_by_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = make_run(tmp_path / "ours"), make_run(tmp_path / "theirs", "baseline")
    results = json.loads((other / "results.json").read_text())
    del results["sets"]["outdoors"]
    results["phase_seconds"] = {"plain": 5.0}
    (other / "results.json").write_text(json.dumps(results))
    assert run_report(monkeypatch, run, "--against", other) == 0
    texts = Page((run / "report.html").read_text(encoding="utf-8")).texts
    place = texts.index("held-out")
    assert texts[place + 1 : place + 9] == [
        *("proposal (ours)", "80.0", "49.0 to 94.3", "10"),
        *("baseline (theirs)", "80.0", "49.0 to 94.3", "10"),
    ]
    assert "5.0" in texts


def test_runs_of_advbg_train_are_reported_on_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio, outdoors = a_folder(tmp_path / "studio"), a_folder(tmp_path / "outdoors", count=2, seed=50)
    shared = ["train", studio, "--model", "test_resnet", "--image-size", 32, "--batch-size", 4, "--epochs", 2]
    for method in ("proposal", "baseline"):
        arguments = ["--method", method, "--test", outdoors, "--output", tmp_path / method]
        assert run(monkeypatch, *shared, *arguments) == 0
    assert run_report(monkeypatch, tmp_path / "proposal", "--against", tmp_path / "baseline") == 0
    page = Page((tmp_path / "proposal" / "report.html").read_text(encoding="utf-8"))
    assert {"outdoors", "blå", "baseline (baseline)", "epoch 2"} <= set(page.texts)
    assert any(address.startswith("data:image/png") for address in page.addresses)


def test_runs_with_other_images_or_settings_are_not_compared_without_a_word(tmp_path: Path) -> None:
    ours, theirs = (read_run(make_run(tmp_path / name)) for name in ("ours", "theirs"))
    assert remarks([ours, ours]) == []
    assert differences([ours, ours]) == []
    other = replace(theirs, split={"training": ["3.jpg", "1.jpg"], "held_out": ["2.jpg"]})
    other.results["sets"]["outdoors"]["n"] = 7
    other.results["settings"]["seed"] = 1
    other.results["settings"]["fit"] = "crop"
    held_out, outdoors = remarks([replace(ours, split={"training": ["1.jpg", "2.jpg"], "held_out": ["3.jpg"]}), other])
    assert "was trained on 1 of the 1 that proposal (ours) holds out" in held_out
    assert outdoors == "outdoors has 10 images in proposal (ours) and 7 in proposal (theirs)."
    assert differences([ours, other]) == [
        {"name": "fit", "values": ["pad", "crop"]},
        {"name": "seed", "values": ["", 1]},
    ]
    write_report([ours, other], tmp_path / "page.html")
    texts = Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts
    assert outdoors in texts
    assert "Settings that differ" in texts


def test_images_are_the_same_by_whatever_path_a_run_named_their_folder(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    before = read_run(folder).split
    results = json.loads((folder / "results.json").read_text())
    results["settings"]["folder"] = "../data/studio"
    (folder / "results.json").write_text(json.dumps(results))
    split = json.loads((folder / "split.json").read_text())
    moved = {part: [f"../data/{file}" for file in files] for part, files in split.items()}
    (folder / "split.json").write_text(json.dumps(moved))
    assert read_run(folder).split == before


def _written(folder: Path, split: dict[str, object]) -> Path:
    (folder / "split.json").write_text(json.dumps({"training": [], **split}))
    return folder


def test_held_out_images_on_another_drive_keep_their_whole_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _written(make_run(tmp_path / "run"), {"held_out": ["D:\\objects\\1.jpg"]})
    monkeypatch.setattr("os.path.relpath", ntpath.relpath)
    assert read_run(folder).split["held_out"] == ["D:\\objects\\1.jpg"]


def test_images_are_the_same_wherever_the_report_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = {"held_out": ["/objects/1.jpg"], "directory": "/work"}
    folder = _written(make_run(tmp_path / "run"), split)
    monkeypatch.chdir(tmp_path)
    assert read_run(folder).split["held_out"] == ["../../objects/1.jpg"]


def test_runs_of_one_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [make_run(tmp_path / place / "run") for place in ("monday", "tuesday")]
    names = [run.name for run in read_runs(folders[0], folders[1:])]
    assert names == [f"proposal ({folder.resolve()})" for folder in folders]
    assert run_report(monkeypatch, folders[0], "--against", folders[0]) == 2


def test_runs_of_other_classes_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = make_run(tmp_path / "run"), make_run(tmp_path / "other", classes=("pear", "plum"))
    assert run_report(monkeypatch, run, "--against", other) == 2
    assert "has the classes pear, plum" in capsys.readouterr().err
    assert run_report(monkeypatch, tmp_path / "nowhere") == 2
    assert "`run` (=" in capsys.readouterr().err
    assert run_report(monkeypatch, run, "--against", tmp_path / "nowhere") == 2
    assert "`against` (=" in capsys.readouterr().err
    assert run_report(monkeypatch, run, "--output", tmp_path / "nowhere" / "page.html") == 2

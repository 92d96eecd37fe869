"""What is published: checked before any work, written whole, and named where it is damaged."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from advbg import cli
from advbg.benchmark import campaign
from advbg.benchmark.campaign import publish_run, without_published
from advbg.benchmark.demonstrations import commands
from advbg.benchmark.demonstrations.registry import make_demonstration
from advbg.benchmark.files import write_json
from advbg.benchmark.reproduce import Settings
from advbg.benchmark.study import StudySettings, run_study
from advbg.benchmark.summary import write_summary

SETTINGS = Settings("digits", ("baseline",), None, (1, 0, 0), 0)
COMMITTED = Path(__file__).parents[2] / "docs" / "results"
DAMAGED = ["{", "[]", "{}", '{"settings": {}, "methods": []}']


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advbg", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def _never(*_: object) -> None:
    raise AssertionError("trained")


@pytest.fixture
def a_run(tmp_path: Path) -> Path:
    """The folder of a run with a row and its figure."""
    folder = tmp_path / "run"
    (folder / "proposal").mkdir(parents=True)
    (folder / "proposal" / "composites.png").write_bytes(b"new")
    row = {"checkpoint": "run/proposal/model.safetensors"}
    results = {"settings": {"photographs": None}, "machine": {}, "versions": {}, "methods": {"proposal": row}}
    write_json(folder / "results.json", results)
    return folder


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_published_rows_are_named_before_others_are_trained(content: str, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"results\.json is damaged"):
        without_published(SETTINGS, tmp_path / "results.json")


def test_published_rows_of_a_time_before_a_setting_are_of_other_settings(tmp_path: Path) -> None:
    write_json(tmp_path / "results.json", {"settings": {}, "machine": {}, "versions": {}, "methods": {}})
    with pytest.raises(ValueError, match="was run with `dataset` None, not 'digits'"):
        without_published(SETTINGS, tmp_path / "results.json")


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("where", ["run", "docs/seed-0"])
def test_rows_are_not_published_from_or_to_a_damaged_file(
    where: str, content: str, a_run: Path, tmp_path: Path
) -> None:
    (tmp_path / where).mkdir(parents=True, exist_ok=True)
    (tmp_path / where / "results.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{where}/results\.json is damaged"):
        publish_run(a_run, tmp_path / "docs", 0)
    assert (tmp_path / where / "results.json").read_text() == content


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("name", ["mnist/seed-1/results.json", "mnist/seed-1/study.json", "cost/resnet18-128.json"])
def test_pages_of_damaged_results_name_them(name: str, content: str, tmp_path: Path) -> None:
    for folder in ("mnist", "cost"):
        shutil.copytree(COMMITTED / folder, tmp_path / folder)
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"{Path(name).name} is damaged"):
        write_summary(tmp_path)


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_study_is_named(content: str, tmp_path: Path) -> None:
    settings = StudySettings(arms=("random",), seconds=1.0, batch_size=8, seed=0, bfloat16=False)
    (tmp_path / "study.json").write_text(content)
    dataset = campaign.load_dataset("digits", data_dir=tmp_path, train_size=40, seed=0)
    with pytest.raises(ValueError, match=r"study\.json is damaged"):
        run_study(settings, dataset, tmp_path / "masks.pt", tmp_path / "study.json", _never)


def test_tables_that_cannot_be_published_train_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "docs").touch()
    monkeypatch.setattr(campaign, "reproduce", _never)
    arguments = ["--datasets", "digits", "--seeds", 0, "--methods", "baseline", "--output", tmp_path / "runs"]
    assert _run(monkeypatch, "tables", *arguments, "--published", tmp_path / "docs") == 2
    assert "the folder of `published`" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("blocked", "message"),
    [
        ("docs", "the folder of `published`"),
        ("docs/tasks/regression", "the folder of `published`"),
        ("docs/tasks/segmentation/results.json", "results.json is damaged"),
    ],
)
def test_a_demonstration_that_cannot_be_published_trains_nothing(
    blocked: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    monkeypatch.setattr(commands, "run_demonstration", _never)
    arguments = ["--task", "regression", "--output", tmp_path / "run", "--published", tmp_path / "docs"]
    assert _run(monkeypatch, "reproduce", *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_published_figure_takes_the_place_of_the_old_one_whole(a_run: Path, tmp_path: Path) -> None:
    figure = tmp_path / "docs" / "composites.png"
    figure.parent.mkdir()
    figure.write_bytes(b"old")
    os.link(figure, tmp_path / "seen.png")
    publish_run(a_run, tmp_path / "docs", 0)
    assert figure.read_bytes() == b"new"
    assert (tmp_path / "seen.png").read_bytes() == b"old"


def test_figures_of_a_demonstration_take_the_place_of_the_old_ones_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(COMMITTED / "tasks", tmp_path / "docs" / "tasks")
    published = tmp_path / "docs" / "tasks" / "regression"
    output = shutil.copytree(published, tmp_path / "run")
    (output / "scores.png").write_bytes(b"new")
    before = (published / "scores.png").read_bytes()
    os.link(published / "scores.png", tmp_path / "seen.png")
    results = json.loads((output / "results.json").read_text())
    monkeypatch.setattr(commands, "run_demonstration", lambda *_: results)
    demonstration = make_demonstration(
        "regression",
        dataset="digits",
        data_dir=tmp_path,
        train_size=48,
        epochs=(1, 1, 1),
        batch_size=24,
        bfloat16=False,
    )
    commands.demonstrate(demonstration, (0,), output, tmp_path / "docs")
    assert (published / "scores.png").read_bytes() == b"new"
    assert (tmp_path / "seen.png").read_bytes() == before

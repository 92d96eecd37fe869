"""Case studies that go on: in their folder, and from what is published."""

import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from advbg.benchmark.case_study import running
from advbg.benchmark.case_study.pages import write_page
from advbg.benchmark.case_study.rows import ROWS
from tests.benchmark.case_study.commands import command
from tests.command_line import run


def test_a_run_goes_on_with_other_rows_and_trains_none_twice(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command(data_dir, tmp_path / "run", "--seeds", "0", "--rows")
    assert run(monkeypatch, *arguments, "baseline") == 0
    trained = []
    train = running._train
    monkeypatch.setattr(running, "_train", lambda case, row, *rest: trained.append(row) or train(case, row, *rest))
    assert run(monkeypatch, *arguments, "black,baseline", "--resume") == 0
    assert trained == ["black"]
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_rows_that_are_published_are_not_trained_again(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    file = tmp_path / "docs/case-studies/office10-scratch/results.json"
    before = json.loads(file.read_text())
    del before["seeds"]["1"]["black"]
    before["machine"]["processor"] = "another"
    file.write_text(json.dumps(before))
    trained = []
    train = running._train
    monkeypatch.setattr(running, "_train", lambda case, row, *rest: trained.append(row) or train(case, row, *rest))
    arguments = command(data_dir, tmp_path / "run", "--seeds", "0,1", "--published", tmp_path / "docs")
    assert run(monkeypatch, *arguments) == 0
    assert trained == ["black"]
    results = json.loads(file.read_text())
    assert results["machine"]["processor"] == "another"
    assert results["seeds"]["1"].pop("black")["machine"]["processor"] != "another"
    assert results["seeds"] == before["seeds"]
    assert "several machines, whose seconds do not compare" in file.parents[1].joinpath("index.md").read_text()


def test_a_row_of_a_run_that_goes_on_elsewhere_says_where(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    file = tmp_path / "run/results.json"
    before = json.loads(file.read_text())
    del before["seeds"]["1"]["black"]
    before["versions"]["torch"] = "another"
    file.write_text(json.dumps(before))
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--seeds", "1", "--rows", "black", "--resume")) == 0
    results = json.loads(file.read_text())
    assert results["versions"]["torch"] == "another"
    assert results["seeds"]["1"].pop("black")["versions"]["torch"] == importlib.metadata.version("torch")
    assert results["seeds"] == before["seeds"]


def test_rows_that_others_published_meanwhile_stay(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "docs/case-studies/office10-scratch/results.json"
    train = running._train

    def train_while_others_publish(*arguments):
        shutil.copytree(finished / "docs", tmp_path / "docs", dirs_exist_ok=True)
        return train(*arguments)

    monkeypatch.setattr(running, "_train", train_while_others_publish)
    arguments = command(
        data_dir, tmp_path / "run", "--seeds", "2", "--rows", "baseline", "--published", tmp_path / "docs"
    )
    assert run(monkeypatch, *arguments) == 0
    seeds = json.loads(file.read_text())["seeds"]
    assert {seed: list(rows) for seed, rows in seeds.items()} == {"0": [*ROWS], "1": [*ROWS], "2": ["baseline"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda results: results["settings"].update(learning_rate=0.1), "was run with `learning_rate` 0.1, not 0.0005"),
        (lambda results: results["settings"].pop("placement"), "before `placement` (=0.5) was written down"),
        (lambda results: results["classes"].reverse(), "was run with `classes`"),
        (lambda results: results["images"].update(webcam=7), "was run with `images`"),
        (lambda results: results.pop("settings"), "is damaged: it has no object `settings`"),
        (lambda results: results.pop("machine"), "is damaged: it has no object `machine`"),
    ],
)
def test_rows_are_not_added_to_published_ones_of_another_study(
    finished: Path,
    data_dir: Path,
    tmp_path: Path,
    change: Callable[[dict], None],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    file = tmp_path / "docs/case-studies/office10-scratch/results.json"
    results = json.loads(file.read_text())
    change(results)
    file.write_text(json.dumps(results))
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--published", tmp_path / "docs")) == 2
    error = "".join(capsys.readouterr().err.split())
    assert "".join(message.split()) in error
    assert "office10-scratch/results.json" in error
    assert not (tmp_path / "run").exists()


def test_a_page_of_damaged_results_names_them(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    (tmp_path / "docs/case-studies/office10-scratch/results.json").write_text("[]")
    with pytest.raises(ValueError, match=r"office10-scratch/results\.json is damaged"):
        write_page(tmp_path / "docs")


def test_the_page_counts_the_seeds_of_a_row_that_not_all_have(finished: Path, data_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    file = tmp_path / "docs/case-studies/office10-scratch/results.json"
    results = json.loads(file.read_text())
    del results["seeds"]["1"]["black"]
    file.write_text(json.dumps(results))
    lines = write_page(tmp_path / "docs").read_text().splitlines()
    counts = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines if line.startswith("| ")}
    assert {row: counts[row] for row in ROWS} == {row: "1" if row == "black" else "2" for row in ROWS}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_study_goes_on_on_a_gpu_which_its_rows_name(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rows, more in (("baseline", ()), ("baseline,attention,proposal", ("--device", "cuda", "--resume"))):
        arguments = command(data_dir, tmp_path / "run", "--seeds", "0", "--rows", rows, *more)
        assert run(monkeypatch, *arguments) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    measured = results["seeds"]["0"]
    assert "gpu" not in results["machine"] | measured["baseline"].get("machine", {})
    assert all(measured[row]["machine"]["gpu"] == torch.cuda.get_device_name() for row in ("attention", "proposal"))

"""Tables and figures over seeds."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advbg.benchmark import campaign, evaluation, reproduce, study
from advbg.benchmark.seeds import read_seeds
from advbg.benchmark.summary import spread, write_summary
from tests.command_line import run


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A tiny campaign of two seeds."""
    folder = tmp_path_factory.mktemp("campaign")
    with pytest.MonkeyPatch.context() as monkeypatch:
        _tables(monkeypatch, folder)
    return folder


def _tables(monkeypatch, folder: Path, *more: str) -> None:
    arms = {name: study.ARMS[name] for name in ("random", "some climb")}
    monkeypatch.setattr(campaign, "ARMS", arms)
    monkeypatch.setattr(study, "_TIMED_STEPS", 1)
    monkeypatch.setattr(study, "_TEST_IMAGES", 16)
    monkeypatch.setattr(evaluation, "NOISE_RATES", (0.0, 0.5))
    arguments = ["tables", "--datasets", "digits", "--seeds", "0,1", "--train-size", "64", "--epochs", "1,1,1"]
    arguments += ["--methods", "baseline,proposal,paper", "--study-seconds", "0.05"]
    arguments += ["--output", str(folder / "runs"), "--published", str(folder / "docs"), *more]
    assert run(monkeypatch, *arguments) == 0


def test_one_command_makes_pages_figures_and_results(published):
    docs = published / "docs"
    page = (docs / "digits" / "index.md").read_text()
    for heading in ("Accuracy", "Cost", "Masks", "With the paper's augmentation", "Sensitivity to noise"):
        assert f"## {heading}" in page
    for figure in ("accuracy", "sensitivity", "backgrounds", "composites"):
        assert f"]({figure}.png)" in page
        assert np.asarray(Image.open(docs / "digits" / f"{figure}.png")).std() > 0
    assert np.asarray(Image.open(docs / "study.png")).std() > 0
    assert "| `some climb` |" in (docs / "study-tables.md").read_text()


def test_the_published_results_say_what_they_were_measured_on(published):
    results = json.loads((published / "docs" / "digits" / "seed-1" / "results.json").read_text())
    assert results["settings"]["seed"] == 1
    assert results["versions"]["torch"]
    assert results["machine"]["cores"] >= 1
    assert list(results["methods"]["proposal"]["phase_seconds"]) == ["classifier", "mask", "adversarial"]
    assert "checkpoint" not in results["methods"]["proposal"]


def test_a_cell_is_the_mean_and_the_standard_deviation_of_the_seeds(published):
    runs = read_seeds(published / "docs" / "digits", "results.json")
    values = [run["methods"]["proposal"]["accuracy"]["clock"] for run in runs]
    cell = f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    row = next(
        line for line in (published / "docs/digits/index.md").read_text().splitlines() if line.startswith("| proposal")
    )
    assert row.split("|")[7].strip() == cell


def test_the_same_command_trains_nothing_twice(published, monkeypatch):
    def trained(*_):
        raise AssertionError("trained again")

    before = (published / "docs" / "digits" / "index.md").read_text()
    monkeypatch.setattr("advbg.benchmark.training._step", trained)
    monkeypatch.setattr(study, "_train_and_test", trained)
    _tables(monkeypatch, published)
    assert (published / "docs" / "digits" / "index.md").read_text() == before


def test_another_machine_adds_rows_to_those_that_are_published(published, monkeypatch, tmp_path):
    shutil.copytree(published / "docs", tmp_path / "docs")
    trained = []
    train = reproduce.train
    monkeypatch.setattr(
        reproduce, "train", lambda method, *args, **named: trained.append(method) or train(method, *args, **named)
    )
    _tables(monkeypatch, tmp_path, "--methods", "black,baseline,proposal", "--seeds", "1", "--no-augmentation")
    assert trained == ["black"]
    results = json.loads((tmp_path / "docs/digits/seed-1/results.json").read_text())
    assert results["settings"]["methods"] == list(results["methods"]) == ["baseline", "black", "paper", "proposal"]
    before = json.loads((published / "docs/digits/seed-1/results.json").read_text())
    assert {name: results["methods"][name] for name in before["methods"]} == before["methods"]


def test_rows_of_another_machine_say_what_they_were_measured_on(published, monkeypatch, tmp_path):
    shutil.copytree(published / "docs", tmp_path / "docs")
    file = tmp_path / "docs/digits/seed-1/results.json"
    before = json.loads(file.read_text())
    here = before["machine"]
    before["machine"] = here | {"processor": "another"}
    file.write_text(json.dumps(before))
    _tables(monkeypatch, tmp_path, "--methods", "black", "--seeds", "1", "--no-augmentation")
    results = json.loads(file.read_text())
    assert results["machine"]["processor"] == "another"
    assert results["methods"]["black"]["machine"] == here
    assert "versions" not in results["methods"]["black"]
    assert "machine" not in results["methods"]["proposal"]


def _change(file: Path, change) -> None:
    results = json.loads(file.read_text())
    change(results)
    file.write_text(json.dumps(results))


def _tabled(page: Path, heading: str) -> dict[str, list[str]]:
    """The rows of a section's table by their first cell."""
    section = page.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in lines}


def test_a_row_that_one_seed_lacks_is_shown_of_the_other_with_their_number(published, tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(published / "docs", docs)
    _change(docs / "digits/seed-0/results.json", lambda results: results["methods"].pop("paper"))
    write_summary(docs)
    lone = json.loads((docs / "digits/seed-1/results.json").read_text())["methods"]["paper"]
    rows = _tabled(docs / "digits/index.md", "Accuracy")
    assert rows["paper"][5] == f"{lone['accuracy']['clock']:.1f}"
    assert rows["paper"][-1] == "1"
    assert rows["proposal"][-1] == "2"
    assert np.asarray(Image.open(docs / "digits/accuracy.png")).std() > 0


def test_seconds_stand_only_beside_a_baseline_of_the_same_machine(published, tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(published / "docs", docs)

    def moved(results):
        results["methods"]["proposal"] |= {"seconds": 1e6, "machine": results["machine"] | {"processor": "another"}}

    _change(docs / "digits/seed-0/results.json", moved)
    write_summary(docs)
    methods = json.loads((docs / "digits/seed-1/results.json").read_text())["methods"]
    *_, total, times, seeds = _tabled(docs / "digits/index.md", "Cost")["proposal"]
    assert (total, seeds) == (f"{methods['proposal']['seconds']:.0f}", "1")
    assert times == f"{methods['proposal']['seconds'] / methods['baseline']['seconds']:.2f}"


def test_a_page_names_all_versions_that_its_rows_were_measured_with(published, tmp_path):
    docs = tmp_path / "docs"
    shutil.copytree(published / "docs", docs)
    _change(docs / "digits/seed-1/results.json", lambda results: results["versions"].update(torch="0.0.1"))
    write_summary(docs)
    assert "torch 0.0.1 and 2." in (docs / "digits/index.md").read_text()


def test_rows_are_not_added_to_results_of_other_settings(published, monkeypatch, tmp_path, capsys):
    shutil.copytree(published / "docs", tmp_path / "docs")
    with pytest.raises(AssertionError):
        _tables(monkeypatch, tmp_path, "--methods", "black", "--epochs", "1,1,2")
    assert "was run with `epochs` [1, 1, 1], not [1, 1, 2]" in capsys.readouterr().err


def test_a_study_without_the_masks_it_begins_with_is_refused(published, monkeypatch, tmp_path, capsys):
    shutil.copytree(published / "docs", tmp_path / "docs")
    (tmp_path / "docs/digits/seed-0/study.json").unlink()
    with pytest.raises(AssertionError):
        _tables(monkeypatch, tmp_path)
    assert "masks-default.pt" in capsys.readouterr().err


def test_an_unfinished_study_is_left_out_of_the_tables(published, tmp_path):
    shutil.copytree(published / "docs", tmp_path / "docs")
    file = tmp_path / "docs/digits/seed-1/study.json"
    unfinished = json.loads(file.read_text())
    del unfinished["arms"]["some climb"]
    file.write_text(json.dumps(unfinished))
    write_summary(tmp_path / "docs")
    assert "Of one seed;" in (tmp_path / "docs/study-tables.md").read_text()


def test_pages_are_made_again_from_published_results_alone(published, monkeypatch):
    page = published / "docs" / "digits" / "index.md"
    before = page.read_text()
    page.unlink()
    _tables(monkeypatch, published, "--summary-only")
    assert page.read_text() == before


def test_a_study_of_too_few_images_is_refused_before_any_training(published, monkeypatch, tmp_path, capsys):
    with pytest.raises(AssertionError):
        _tables(monkeypatch, tmp_path, "--train-size", "39")
    assert "`train_size` (=39) must be 40 or more for the study" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_single_value_has_no_spread():
    assert spread([97.25]) == "97.2"
    assert spread([1.0, 3.0]) == "2.0 ± 1.4"


def test_a_folder_without_results_makes_no_page(tmp_path):
    (tmp_path / "mnist").mkdir()
    assert write_summary(tmp_path) == []


def test_the_committed_pages_are_those_of_the_committed_results(tmp_path):
    committed = Path(__file__).parents[2] / "docs" / "results"
    for file in committed.rglob("*.json"):
        target = tmp_path / file.relative_to(committed)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    for page in write_summary(tmp_path):
        assert page.read_text() == (committed / page.relative_to(tmp_path)).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--datasets letters", "`datasets` (='letters') must be some of"),
        ("--seeds one", "`seeds` (='one') must be whole numbers"),
        ("--seeds -1", "`seeds` (='-1') must be different numbers, 0 or more"),
        ("--methods nothing", "`methods` (='nothing')"),
        ("--study-seconds -1", "`study_seconds` (=-1.0)"),
        ("--photographs nowhere", "is not a directory"),
        ("--epochs 1,2", "`epochs` (='1,2')"),
    ],
)
def test_tables_that_cannot_be_made_are_refused_before_any_work(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "tables", *arguments.split()) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

"""Demonstrations of other tasks: their data, their trainings, their results."""

import json
import math
import shutil
import statistics
import sys
from pathlib import Path

import kornia
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from advbg.benchmark.datasets import load_dataset
from advbg.benchmark.demonstrations import supervised
from advbg.benchmark.demonstrations.commands import write_page
from advbg.benchmark.demonstrations.registry import make_demonstration
from advbg.benchmark.demonstrations.regression import Regression, turn
from advbg.benchmark.demonstrations.running import summarise
from advbg.benchmark.demonstrations.segmentation import Segmentation, label_maps
from advbg.benchmark.demonstrations.supervised import Recipe
from advbg.benchmark.demonstrations.unseen import unseen_backgrounds
from advbg.files import DamagedStateError
from tests.command_line import run

_TASKS = ["segmentation", "regression"]
_TINY = ["--train-size", "48", "--epochs", "1,1,1", "--batch-size", "24", "--seeds", "0"]


def _make(task: str, epochs: tuple[int, int, int] = (1, 1, 1)):
    return make_demonstration(
        task, dataset="digits", data_dir=Path(), train_size=48, epochs=epochs, batch_size=24, bfloat16=False
    )


@pytest.fixture(scope="module", params=_TASKS)
def finished_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of both rows, published."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ["--output", folder / "run", "--published", folder / "published"]
        assert run(monkeypatch, "reproduce", "--task", request.param, *_TINY, *arguments) == 0
    return folder / "run"


def test_a_run_writes_results_table_and_figures(finished_run: Path) -> None:
    results = json.loads((finished_run / "results.json").read_text())
    assert set(results["seeds"]) == {"0"}
    for method, row in results["seeds"]["0"].items():
        assert row["clean"] > 0
        assert len(row["changed"]) == 36
        assert row["seconds"] == pytest.approx(sum(row["phase_seconds"].values()))
        mean = statistics.fmean(row["changed"].values())
        assert results["summary"][method]["changed"] == pytest.approx([mean, 0])
        assert results["summary"][method]["ratio"][0] == pytest.approx(mean / row["clean"])
    assert "| proposal |" in (finished_run / "results.md").read_text()
    for name in ("scores.png", "examples.png"):
        assert np.asarray(Image.open(finished_run / name)).std() > 0


def test_a_label_map_needs_no_mask_phase_and_angles_do(finished_run: Path) -> None:
    results = json.loads((finished_run / "results.json").read_text())
    proposal = results["seeds"]["0"]["proposal"]
    assert ("mask" in proposal["phase_seconds"]) == (results["task"] == "regression")
    assert ("mask_quality" in proposal) == (results["task"] == "regression")
    assert "adversarial" in proposal["phase_seconds"]


def test_what_is_published_is_what_was_measured(finished_run: Path) -> None:
    published = finished_run.parent / "published"
    task = json.loads((finished_run / "results.json").read_text())["task"]
    page = (published / "tasks" / "index.md").read_text()
    assert (finished_run / "results.md").read_text() in page
    for name in ("results.json", "scores.png", "examples.png"):
        assert (published / "tasks" / task / name).read_bytes() == (finished_run / name).read_bytes()
        assert name == "results.json" or f"({task}/{name})" in page


def test_a_run_goes_on_with_other_seeds_and_measures_nothing_twice(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shutil.copytree(finished_run, tmp_path / "run")
    results = json.loads((output / "results.json").read_text())
    trained, train = [], supervised.train
    monkeypatch.setattr(supervised, "train", lambda *arguments: trained.append(arguments[1:3]) or train(*arguments))
    arguments = ["--task", results["task"], *_TINY, "--seeds", "0,3", "--output", output, "--resume"]
    assert run(monkeypatch, "reproduce", *arguments) == 0
    assert trained == [("baseline", 3), ("proposal", 3)]
    assert json.loads((output / "results.json").read_text())["seeds"]["0"] == results["seeds"]["0"]
    assert run(monkeypatch, "reproduce", "--task", results["task"], "--output", output, "--resume") == 2


@pytest.mark.parametrize("task", _TASKS)
def test_a_training_that_was_stopped_goes_on_bit_for_bit(task: str, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(progress: supervised.Progress) -> None:
        if progress.step == 3:
            raise StoppedError

    def passed_over(progress: supervised.Progress) -> None:
        assert progress.step > 2

    def weights(file: str, report) -> dict[str, torch.Tensor]:
        demonstration = _make(task)
        trained = supervised.train(demonstration, "proposal", 5, demonstration.recipe, tmp_path / file, report)
        return trained.model.state_dict()

    whole = weights("whole.pt", lambda _: None)
    with pytest.raises(StoppedError):
        weights("stopped.pt", stop)
    resumed = weights("stopped.pt", passed_over)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_text("no state")
    demonstration = _make("regression")
    with pytest.raises(DamagedStateError, match=r"state\.pt is damaged"):
        supervised.train(demonstration, "baseline", 0, demonstration.recipe, tmp_path / "state.pt", lambda _: None)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 5), seed=st.integers(0, 1000))
def test_images_are_turned_by_the_angles_that_are_said(count: int, seed: int) -> None:
    images = torch.zeros(count, 1, 33, 33)
    images[..., 16, 16:] = 1  # a hand that points to the right
    turned, angles = turn(images, torch.Generator().manual_seed(seed))
    assert angles.shape == (count, 1)
    assert angles.abs().max() <= 45
    rows, columns = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    for picture, angle in zip(turned[:, 0], angles[:, 0], strict=True):
        # The hand's direction; rows grow downwards.
        seen = math.degrees(math.atan2(-(picture * rows).sum().item(), (picture * columns).sum().item()))
        assert seen == pytest.approx(angle.item(), abs=2)
    assert torch.equal(turned, kornia.geometry.rotate(images, angles[:, 0]))


def test_label_maps_have_the_class_on_the_filled_object_and_0_elsewhere() -> None:
    images = torch.zeros(2, 1, 8, 8)
    images[0, 0, 2:6, 2:6] = 0.5
    images[0, 0, 3:5, 3:5] = 0  # a hole
    images[1, 0, 0, 0] = 1
    labels = label_maps(images, torch.tensor([4, 0]))
    expected = torch.zeros(2, 8, 8, dtype=torch.int64)
    expected[0, 2:6, 2:6] = 5
    expected[1, 0, 0] = 1
    assert torch.equal(labels, expected)


def test_a_model_that_sees_the_truth_has_an_error_of_0_and_an_iou_of_100(monkeypatch: pytest.MonkeyPatch) -> None:
    segmentation, regression = _make("segmentation"), _make("regression")
    assert isinstance(segmentation, Segmentation)
    assert isinstance(regression, Regression)
    monkeypatch.setattr(segmentation, "_predict", lambda *_: segmentation.test_labels)
    assert segmentation._mean_iou(torch.nn.Identity(), segmentation.test_images) == pytest.approx(100)
    monkeypatch.setattr(segmentation, "_predict", lambda *_: torch.zeros_like(segmentation.test_labels))
    background = (segmentation.test_labels == 0).double().mean().item()
    expected = 100 * background / 11
    assert segmentation._mean_iou(torch.nn.Identity(), segmentation.test_images) == pytest.approx(expected)
    monkeypatch.setattr(regression, "_predict", lambda *_: regression.test_angles + 3)
    assert regression._error(torch.nn.Identity(), regression.test_images) == pytest.approx(3, abs=1e-4)


def test_the_backgrounds_of_the_test_are_the_papers_six_and_the_thirty_to_report() -> None:
    backgrounds = unseen_backgrounds(load_dataset("digits", data_dir=Path(), train_size=None, seed=0))
    assert list(backgrounds)[:6] == ["stripes", "board", "border", "circles", "clock", "random"]
    assert len(backgrounds) == 36
    assert {int(name.split("-")[1]) % 2 for name in list(backgrounds)[6:]} == {1}


def test_means_and_deviations_are_over_seeds() -> None:
    def row(clean: float, changed: float) -> dict[str, object]:
        return {"clean": clean, "changed": {"a": changed - 1, "b": changed + 1}, "seconds": 2.0}

    seeds = {
        "0": {"baseline": row(10, 5), "proposal": row(10, 9)},
        "1": {"baseline": row(20, 5), "proposal": row(9, 9)},
    }
    summary = summarise({"seeds": seeds})
    assert summary["baseline"]["clean"] == pytest.approx([15, statistics.stdev([10, 20])])
    assert summary["baseline"]["ratio"] == pytest.approx([0.375, statistics.stdev([0.5, 0.25])])
    assert summary["proposal"]["changed"] == pytest.approx([9, 0])
    seeds["1"]["proposal"] = row(0, 0)
    assert summarise({"seeds": seeds})["proposal"]["ratio"][0] == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "segmentation", "--methods", "baseline"], "`--methods` has no meaning for the task segmentation"),
        (["--task", "regression", "--seed", "1"], "`--seed` has no meaning for the task regression"),
        (["--task", "reinforcement", "--epochs", "1,1,1"], "`--epochs` has no meaning for the task reinforcement"),
        (["--seeds", "0,1"], "`--seeds` has no meaning for the task classification"),
        (["--task", "regression", "--seeds", "0,0"], "`seeds` (='0,0') must be different numbers"),
        (["--task", "regression", "--seeds", "one"], "`seeds` (='one') must be whole numbers"),
        (["--task", "regression", "--batch-size", "0"], "`batch_size` (=0) must be 1 or more"),
        (["--task", "regression", "--epochs", "0,0,0"], "`epochs` (=(0, 0, 0)) must be three whole numbers"),
        (["--task", "segmentation", "--precision", "float8"], "`precision` (='float8') must be one of"),
        (["--task", "segmentation", "--train-size", "0"], "`train_size` (=0) must be from 1"),
        (["--task", "regression", "--epochs", "1,0,1"], "must leave 1 or more to the masks"),
        (["--task", "regression", "--epochs", "1,0,0"], "must leave 1 or more to the masks"),
        (["--task", "regression", "--train-size", "39"], "`train_size` (=39) must be 40 or more"),
        (["--task", "segmentation", "--train-size", "39"], "`train_size` (=39) must be 40 or more"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_before_anything_is_written(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "reproduce", *arguments) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert message in said
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "reproduce", "--task", "segmentation") == 2
    assert "pip install advbg[demonstrations]" in capsys.readouterr().err


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`method` \(='magic'\) must be one of baseline, proposal"):
        supervised.prepare(_make("regression"), "magic", 0, Recipe((1, 1, 1), 8, bfloat16=False))


def test_the_page_shows_what_the_documentation_has(tmp_path: Path) -> None:
    published = Path(__file__).parents[2] / "docs" / "results"
    copied = shutil.copytree(published / "tasks", tmp_path / "results" / "tasks")
    before = (copied / "index.md").read_text()
    assert write_page(tmp_path / "results").read_text() == before


def test_a_seed_that_was_stopped_between_its_rows_is_left_out_until_it_has_both(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = shutil.copytree(finished_run, tmp_path / "run")
    results = json.loads((output / "results.json").read_text())
    half = {"baseline": results["seeds"]["0"]["baseline"]}
    (output / "results.json").write_text(json.dumps(results | {"seeds": results["seeds"] | {"1": half}}))
    assert run(monkeypatch, "reproduce", "--task", results["task"], *_TINY, "--output", output, "--resume") == 0
    after = json.loads((output / "results.json").read_text())
    assert after["summary"] == results["summary"]
    assert after["seeds"]["1"] == half
    assert "; one seed\n" in (output / "results.md").read_text()

"""What the method costs, measured."""

import json
import sys
from pathlib import Path

import pytest
import torch

from advbg import cli
from advbg.benchmark import cost
from advbg.benchmark.cost import CostSettings, measure_cost
from advbg.benchmark.cost_table import cost_page

SETTINGS = CostSettings("test_resnet", image_size=32, batch_size=2, device="cpu", repeats=2)


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as monkeypatch:
        memory = {name: 100.0 + 10 * index for index, name in enumerate(cost.KINDS)}
        monkeypatch.setattr(cost, "_peak_memory", lambda name, _: memory[name])
        return measure_cost(SETTINGS, lambda _: None)


def test_every_kind_of_step_is_compared_with_the_plain_one_of_its_round(measured):
    assert list(measured["steps"]) == list(cost.KINDS)
    assert set(measured["steps"]["plain"]["ratio"].values()) == {1.0}
    for step in measured["steps"].values():
        assert 0 < step["ratio"]["low"] <= step["ratio"]["median"] <= step["ratio"]["high"]
        assert step["milliseconds"]["median"] > 0
    assert measured["steps"]["mask phase"]["memory_ratio"] == 1.2


def test_a_whole_training_weighs_the_phases_by_the_default_fractions(measured):
    mask, adversarial = (measured["steps"][f"{name} phase"]["ratio"]["median"] for name in ("mask", "adversarial"))
    assert measured["schedule"] == pytest.approx(0.3 + 0.05 * mask + 0.65 * adversarial, abs=1e-3)


def test_a_step_is_timed_from_one_climb_to_the_next(monkeypatch):
    times = iter(range(0, 1000, 8))
    monkeypatch.setattr(cost.time, "perf_counter", lambda: float(next(times)))
    calls = []
    seconds = cost._timed(lambda *_: calls.append(1), torch.zeros(1), torch.zeros(1), 4)
    assert (len(calls), seconds) == (4, 2.0)


@pytest.mark.parametrize(("name", "forwards"), [("plain", 1), ("adversarial phase", 1), ("two passes", 2)])
def test_kinds_of_steps_are_what_they_say(name, forwards, monkeypatch):
    seen = []
    make = cost._model

    def watched(settings):
        model = make(settings)
        model.register_forward_hook(lambda *_: seen.append(1))
        return model

    monkeypatch.setattr(cost, "_model", watched)
    cost.KINDS[name](SETTINGS)(*cost._batch(SETTINGS))
    assert len(seen) == forwards


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_memory_is_that_of_the_step_and_not_of_the_process_that_asks():
    ballast = torch.ones(2**26)  # 256 MiB here are none there
    taken = cost._peak_memory("plain", SETTINGS)
    assert ballast.sum() > 0
    assert 0 < taken < 200


def test_the_page_shows_every_figure_and_the_command(measured):
    page = cost_page([measured])
    assert "advbg bench --model test_resnet --image-size 32 --batch-size 2 --device cpu --repeats 2" in page
    for step in measured["steps"].values():
        assert f"| {step['ratio']['median']:.2f} |" in page
    assert f"**{measured['schedule']:.2f}** times plain" in page


def test_the_page_names_the_gpu_and_every_flag_of_what_was_measured_on_one(measured):
    settings = {**measured["settings"], "device": "cuda", "bfloat16": True, "channels_last": True}
    machine = {**measured["machine"], "gpu": "NVIDIA H100"}
    page = cost_page([{**measured, "settings": settings, "machine": machine}])
    command = (
        "--batch-size 2 --device cuda --repeats 2 --precision bfloat16 --channels-last`: bfloat16, NVIDIA H100, torch"
    )
    assert command in page
    assert measured["machine"]["processor"] not in page


def test_the_command_prints_the_table_and_writes_the_figures(measured, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cost, "measure_cost", lambda *_: measured)
    output = tmp_path / "cost.json"
    monkeypatch.setattr(sys, "argv", ["advbg", "bench", "--model", "test_resnet", "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert "RandConv with consistency" in capsys.readouterr().out
    assert json.loads(output.read_text())["schedule"] == measured["schedule"]


def test_figures_that_cannot_be_written_any_more_are_printed_and_the_file_is_named(
    measured, tmp_path, monkeypatch, capsys
):
    output = tmp_path / "cost.json"
    monkeypatch.setattr(cost, "measure_cost", lambda *_: output.mkdir() or measured)
    monkeypatch.setattr(sys, "argv", ["advbg", "bench", "--model", "test_resnet", "--output", str(output)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    said = capsys.readouterr()
    assert "RandConv with consistency" in said.out
    assert "cost.json" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model nothing", "`model` (='nothing') is no model of timm"),
        (
            "--model vit_tiny_patch16_224 --image-size 8",
            "`image_size` (=8) does not suit `model` (='vit_tiny_patch16_224')",
        ),
        ("--batch-size 1", "`batch_size` (=1) must be 2 or more"),
        ("--device mps", "`device` (='mps') cannot be computed on"),
        ("--device xpu", "`device` (='xpu') cannot be computed on"),
        ("--device meta", "`device` (='meta') cannot be computed on"),
        ("--output .", "`output` (='.') is a folder"),
        ("--precision half", "`precision` (='half') must be one of"),
        ("--output nowhere/cost.json", "the folder of `output`"),
        ("--output /proc/cost.json", "the folder of `output` (='/proc"),
    ],
)
def test_what_cannot_be_measured_is_said_before_any_work(arguments, message, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["advbg", "bench", *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_on_a_gpu_is_what_torch_allocated():
    on_gpu = CostSettings("test_resnet", image_size=32, batch_size=2, device="cuda", repeats=1)
    assert 0 < cost._peak_memory("plain", on_gpu) < 1000

"""The example script `examples/timm_train.py`, end to end."""

import argparse
import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

_ROOT = Path(__file__).parents[2]
_OFFICE = _ROOT.parent / "shared" / "data" / "office10"
_CLASSES = ("bike", "laptop", "mug")
# 2 steps an epoch: the classifier phase has 3 steps, the mask phase 3, so that phases end within epochs.
_PHASES = ("--advbg", "--advbg-classifier-epochs", "1.5", "--advbg-mask-steps", "3")


def _script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("timm_train", _ROOT / "examples" / "timm_train.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Coloured blocks on noise: 8 training and 2 validation images of each of 3 classes."""
    root, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for part, count in (("train", 8), ("validation", 2)):
        for index, name in enumerate(_CLASSES):
            (root / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(0, 60, (40, 40, 3), dtype=np.uint8)
                pixels[10:30, 10:30, index] += 150
                Image.fromarray(pixels).save(root / part / name / f"{number}.png")
    return root


def _run(folder: Path, output: Path, *flags: str, model: str = "test_resnet.r160_in1k") -> dict[str, Any]:
    """Run the script for 5 epochs of 2 steps; returns its last checkpoint and its summary."""
    shared = f"--model {model} --img-size 32 --batch-size 12 --epochs 5 --workers 0 --device cpu --model-ema"
    _script().main([str(folder), *shared.split(), "--output", str(output), *flags])
    return _results(output)


def _results(output: Path) -> dict[str, Any]:
    with torch.serialization.safe_globals([argparse.Namespace]):
        checkpoint = torch.load(output / "last.pth.tar", weights_only=True)
    with (output / "summary.csv").open(encoding="utf-8") as file:
        return {**checkpoint, "summary": list(csv.DictReader(file))}


def _losses(results: dict[str, Any]) -> list[str]:
    return [row["train_loss"] for row in results["summary"]]


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def unbroken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return _run(folder, tmp_path_factory.mktemp("unbroken"), *_PHASES)


def test_it_trains_and_reports_every_epoch(unbroken: dict[str, Any]) -> None:
    assert len(_losses(unbroken)) == 5
    assert {"train_loss", "eval_top1", "eval_top1_ema", "lr"} < set(unbroken["summary"][0])
    assert unbroken["task_state"]["companions"]["_extra_state"]["step_count"] == 10


@pytest.mark.parametrize("weights", ["state_dict", "state_dict_ema"])
def test_its_checkpoint_loads_into_a_plain_timm_model(unbroken: dict[str, Any], weights: str) -> None:
    model = timm.create_model("test_resnet.r160_in1k", num_classes=3)
    model.load_state_dict(unbroken[weights], strict=True)
    assert not _same(unbroken["state_dict"], unbroken["state_dict_ema"])


def test_timm_itself_loads_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    results = _run(folder, tmp_path, *_PHASES, "--stop-after", "1")
    path = str(tmp_path / "last.pth.tar")
    with torch.serialization.safe_globals([argparse.Namespace]):
        model = timm.create_model("test_resnet.r160_in1k", num_classes=3, checkpoint_path=path)
    assert _same(model.state_dict(), results["state_dict_ema"])


def test_without_the_flag_it_is_plain_timm_and_the_first_phases_do_not_differ_from_it(
    folder: Path, tmp_path: Path, unbroken: dict[str, Any]
) -> None:
    plain = _run(folder, tmp_path)
    assert "task_state" not in plain
    # Classifier and mask phase last for 6 steps, which are 3 epochs.
    assert _losses(plain)[:3] == _losses(unbroken)[:3]
    assert _losses(plain)[3:] != _losses(unbroken)[3:]


@pytest.mark.parametrize("epochs", ["1", "2", "4"], ids=["classifier", "mask", "adversarial"])
def test_a_run_stopped_amid_a_phase_and_resumed_ends_as_the_unbroken_run(
    folder: Path, tmp_path: Path, unbroken: dict[str, Any], epochs: str
) -> None:
    _run(folder, tmp_path, *_PHASES, "--stop-after", epochs)
    resumed = _run(folder, tmp_path, *_PHASES, "--resume", str(tmp_path / "last.pth.tar"))
    assert _losses(resumed) == _losses(unbroken)
    assert _same(resumed["state_dict"], unbroken["state_dict"])
    assert _same(resumed["state_dict_ema"], unbroken["state_dict_ema"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_trains_in_mixed_precision_with_clipping_and_accumulation(folder: Path, tmp_path: Path, dtype: str) -> None:
    flags = ("--amp", "--amp-dtype", dtype, "--clip-grad", "1", "--grad-accum-steps", "2")
    results = _run(folder, tmp_path, "--advbg", *flags, "--advbg-classifier-steps", "1", "--advbg-mask-steps", "2")
    assert results["task_state"]["companions"]["_extra_state"]["step_count"] == 5
    assert ("amp_scaler" in results) == (dtype == "float16")
    assert all(torch.isfinite(value).all() for value in results["state_dict"].values())


def test_it_trains_on_real_images(tmp_path: Path) -> None:
    if not _OFFICE.is_dir():
        pytest.skip(f"Office-10 is not in {_OFFICE}")
    for part, domain, count in (("train", "amazon", 8), ("validation", "dslr", 2)):
        for name in _CLASSES:
            (tmp_path / part / name).mkdir(parents=True)
            for image in sorted((_OFFICE / domain / name).glob("*.jpg"))[:count]:
                (tmp_path / part / name / image.name).symlink_to(image)
    results = _run(tmp_path, tmp_path / "run", *_PHASES, "--amp", model="test_vit.r160_in1k")
    assert all(np.isfinite(float(loss)) for loss in _losses(results))
    timm.create_model("test_vit.r160_in1k", num_classes=3).load_state_dict(results["state_dict"])

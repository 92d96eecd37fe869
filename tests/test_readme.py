"""The README does what it says."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.models import a_batch, tiny_classifier

_README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _README, flags=re.DOTALL)


def test_every_python_block_runs_in_the_order_of_the_page() -> None:
    assert len(_blocks("python")) >= 4
    page: dict[str, Any] = {}
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), page)


def test_the_diff_turns_one_script_that_runs_into_another(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (diff,) = _blocks("diff")
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if not line.startswith("+"))
    after = "\n".join(line[1:] for line in lines if not line.startswith("-"))
    for script in (before, after):
        script_names: dict[str, Any] = {
            "torch": torch,
            "model": tiny_classifier(),
            "loader": [a_batch(seed=seed) for seed in range(2)],
            "epochs": 2,
            "criterion": nn.CrossEntropyLoss(),
        }
        exec(compile(script, "README.md", "exec"), script_names)
        saved = torch.load(tmp_path / "model.pt", weights_only=True)
        tiny_classifier(seed=1).load_state_dict(saved, strict=True)
    assert "AdversarialBackground" not in before
    assert script_names["wrapper"].companions.step_count == 4
    assert script_names["wrapper"].phase == "adversarial"


def test_links_and_pictures_of_the_page_exist() -> None:
    root = Path(__file__).parents[1]
    local = [link for link in re.findall(r"\]\(([^)#]+)\)", _README) if "://" not in link]
    assert len(local) >= 3
    assert [link for link in local if not (root / link).exists()] == []


@pytest.mark.parametrize("name", ["resnet50-224", "resnet18-128", "resnet50-224-cuda"])
def test_its_figures_of_cost_are_those_that_were_published(name: str) -> None:
    file = Path(__file__).parents[1] / "docs" / "results" / "cost" / f"{name}.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    (paragraph,) = [part for part in _README.split("\n\n") if part.startswith("What it costs")]
    written = re.findall(r"\d\.\d\d", paragraph)
    published = [f"{results['steps']['adversarial phase']['ratio']['median']:.2f}", f"{results['schedule']:.2f}"]
    place = {"resnet50-224": (0, 2), "resnet18-128": (1, 3), "resnet50-224-cuda": (4, 5)}[name]
    assert [written[index] for index in place] == published


@pytest.mark.parametrize(
    ("row", "study", "method", "seeds"),
    [
        ("the model as timm makes it", "office10-ordinary", "baseline", 20),
        ("with the method: `--tuning ordinary`", "office10-ordinary", "proposal", 20),
        ("its statistics held", "office10-ordinary-held", "baseline", 3),
        ("with the method: `--tuning ordinary --hold-statistics`", "office10-ordinary-held", "proposal", 3),
        ("its classifier begun small", "office10-plain", "baseline", 3),
        ("with the method: `--tuning plain`", "office10-plain", "proposal", 3),
        ("[gentle tuning]", "office10", "baseline", 6),
        ("with the method, the default", "office10", "proposal", 6),
    ],
)
def test_its_figures_of_photographs_are_those_that_were_published(
    row: str, study: str, method: str, seeds: int
) -> None:
    file = Path(__file__).parents[1] / "docs" / "results" / "case-studies" / study / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    measured = [seed[method]["accuracy"] for seed in results["seeds"].values() if method in seed]
    table = _README.split("| webcam | SLR camera |")[1].split("\n\n")[0]
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row}")]
    columns = [[accuracy[name] for accuracy in measured] for name in ("held-out", "new background", "webcam", "dslr")]
    written = [f"{np.mean(column):.1f} ± {np.std(column, ddof=1):.1f}" for column in columns]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == written
    assert len(measured) == seeds


@pytest.mark.parametrize(
    ("place", "study", "method"),
    [
        (0, "fruits-ordinary-copies", "baseline"),
        (1, "fruits-ordinary", "proposal"),
        (2, "fruits-ordinary-copies", "proposal"),
        (3, "fruits-plain-copies", "baseline"),
        (4, "fruits-plain-copies", "proposal"),
        (5, "fruits-scratch-copies-bfloat16", "baseline"),
        (6, "fruits-scratch-bfloat16", "proposal"),
        (7, "fruits-scratch-copies-bfloat16", "proposal"),
        (8, "fruits", "baseline"),
        (9, "fruits", "proposal"),
    ],
)
def test_its_figures_of_fruit_are_those_that_were_published(place: int, study: str, method: str) -> None:
    table = _README.split("| | held-out | same objects, new backgrounds | shop |")[1].split("\n\n")[0]
    line = table.strip().splitlines()[1 + place]
    file = Path(__file__).parents[1] / "docs" / "results" / "case-studies" / study / "results.json"
    results = json.loads(file.read_text(encoding="utf-8"))
    measured = [seed[method]["accuracy"] for seed in results["seeds"].values()]
    columns = [[accuracy[name] for accuracy in measured] for name in ("held-out", "new background", "shop")]
    written = [f"{np.mean(column):.1f} ± {np.std(column, ddof=1):.1f}" for column in columns]
    assert [cell.strip() for cell in line.split("|")[2:-1]] == written
    assert len(measured) == 3
    assert ("baseline" in line) == (method == "baseline")

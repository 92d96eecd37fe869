"""How the rows of a case study are trained."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file

from advbg.benchmark.case_study.rows import CaseRecipe
from advbg.training.models import create_model

_ROOT = Path(__file__).parents[3]


def test_a_recipe_hands_its_tuning_to_model_and_training(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("test_efficientnet", 5, seed=0).state_dict(), file)
    heads, shares = {}, {}
    for tuning in ("plain", "ordinary"):
        recipe = CaseRecipe("test_efficientnet", str(file), False, 32, 3, 6, 5e-4, "float32", tuning)
        model: Any = recipe.model_for(4, seed=1)
        heads[tuning] = model.get_classifier().weight.abs().max().item()
        settings = recipe.settings("proposal", 0, tmp_path)
        options = settings.companion_options() or {}
        shares[tuning] = (settings.classifier_share, settings.mask_share, settings.clean_share, settings.clutter)
        assert options["distractors"] == (1.0 if tuning == "ordinary" else 0.0)
    # Of 4 classes timm draws up to 1 / sqrt(4).
    assert heads["plain"] < 0.1 < heads["ordinary"]
    assert shares == {"plain": (0.05, 0.1, 0.25, 0.0), "ordinary": (0.01, 0.02, 0.1, 0.25)}
    scratch = CaseRecipe("test_efficientnet", None, False, 32, 3, 6, 5e-4, "float32", "plain")
    settings = scratch.settings("proposal", 0, tmp_path)
    assert (settings.classifier_share, (settings.companion_options() or {})["clutter"]) == (0.3, 0.5)
    # Half photographs; of the rest as many pieces of objects as without them.
    Image.new("RGB", (9, 9)).save(tmp_path / "photograph.png")
    plain = CaseRecipe("test_efficientnet", str(file), False, 32, 3, 6, 5e-4, "float32", "plain")
    ordinary = CaseRecipe("test_efficientnet", str(file), False, 32, 3, 6, 5e-4, "float32", "ordinary")
    for recipe, mixture, clutter, distractors in (
        (scratch, (0.5, 1.0), 0.25, 0.0),
        (plain, (1.0, 1.0), 0.0, 0.0),
        (ordinary, (0.75, 1.0), 0.125, 0.0),
    ):
        settings = recipe.settings("proposal + photographs", 0, tmp_path)
        options = settings.companion_options() or {}
        assert tuple(weight for _, weight in options["background"]) == mixture
        assert (options["clutter"], options["distractors"], options["candidates"]) == (clutter, distractors, 1)
        hardest = recipe.settings("hardest of both", 0, tmp_path).companion_options() or {}
        assert hardest["candidates"] == 2
        assert all(
            hardest[name] == value for name, value in options.items() if name not in ("candidates", "background")
        )


@pytest.mark.parametrize("copies", [7.0, float("nan")])
def test_a_recipe_refuses_a_share_of_copies_that_is_none(copies: float) -> None:
    with pytest.raises(ValueError, match=r"`copies` \(=.*\) must be a share in \[0, 1\]"):
        CaseRecipe("test_resnet", None, False, 32, 3, 6, 5e-4, "float32", "plain", copies)


def test_a_recipe_holds_statistics_that_are_there_and_gently_always(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`hold_statistics` \(=True\) needs a pre-trained model: pass `weights` or"):
        CaseRecipe("test_resnet", None, False, 32, 3, 6, 5e-4, "float32", "plain", hold_statistics=True)
    for tuning, said in (("gentle", False), ("plain", True), ("plain", False)):
        recipe = CaseRecipe("test_resnet", None, True, 32, 3, 6, 5e-4, "float32", tuning, hold_statistics=said)
        assert recipe.settings("baseline", 0, tmp_path).hold_statistics == (said or tuning == "gentle")


def test_what_is_published_says_all_that_a_recipe_does() -> None:
    files = sorted((_ROOT / "docs" / "results" / "case-studies").glob("*/results.json"))
    assert len(files) > 5
    for file in files:
        settings = json.loads(file.read_text(encoding="utf-8"))["settings"]
        assert settings.keys() >= {field.name for field in dataclasses.fields(CaseRecipe)}, file


def test_a_recipe_takes_weights_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="two answers"):
        CaseRecipe("test_resnet", str(file), True, 32, 3, 6, 5e-4, "float32", "plain")

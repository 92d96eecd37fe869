"""The study of the adversary: its sources, equal seconds, and going on."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from advbg.benchmark import study
from advbg.benchmark.datasets import load_dataset
from advbg.benchmark.study import StudySettings, run_study
from advbg.benchmark.study_arms import ARMS, Battle
from advbg.benchmark.study_sources import Blended, MostHarmfulBirths
from advbg.benchmark.training import Recipe, train
from tests.models import tiny_classifier

SETTINGS = StudySettings(arms=("random", "some climb"), seconds=0.05, batch_size=8, seed=0, bfloat16=False)


@pytest.fixture(autouse=True, scope="module")
def _few_test_images():
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(study, "_TEST_IMAGES", 16)
        yield


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", data_dir=Path(), train_size=64, seed=0)


@pytest.fixture(scope="module")
def start_file(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    recipe = Recipe(epochs=(1, 1, 0), batch_size=16, seed=0)
    train("proposal", digits, recipe, folder / "state.pt", lambda _: None, shared_file=folder / "masks.pt")
    return folder / "masks.pt"


def _battle(count=8):
    torch.manual_seed(0)
    images, targets = torch.rand(count, 1, 16, 16), torch.randint(4, (count,))
    return Battle(tiny_classifier(1), images, targets, torch.zeros(count, 1, 16, 16))


@pytest.mark.parametrize("name", list(ARMS))
def test_every_arm_makes_backgrounds_in_the_unit_interval_over_and_over(name):
    generator = torch.Generator().manual_seed(0)
    source = ARMS[name].make_source(_battle(), (1, 16, 16), 8, generator)
    seen = []
    for _ in range(3):
        backgrounds = source.sample(8, (1, 16, 16), generator)
        assert backgrounds.shape == (8, 1, 16, 16)
        assert 0 <= backgrounds.min() <= backgrounds.max() <= 1
        seen.append(backgrounds.detach())
        if isinstance(source, nn.Module):
            list(source.advance(generator))
    if name != "latent ascent":  # whose noise stays until it dies
        assert not torch.equal(seen[0], seen[1])


def test_the_most_harmful_of_several_births_survives():
    generator = torch.Generator().manual_seed(0)
    scripted, births = [0.1, 0.3, 0.9, 0.2], []

    def harm(backgrounds):
        births.append([member.head.weight.clone() for member in source.members])
        return torch.tensor(scripted[len(births) - 1])

    source = MostHarmfulBirths((1, 16, 16), generator, harm)
    while not births:
        list(source.advance(generator))
    assert len(births) == 4
    (newborn,) = [
        index for index, _ in enumerate(source.members) if not torch.equal(births[0][index], births[1][index])
    ]
    assert torch.equal(source.members[newborn].head.weight, births[2][newborn])


def test_alt_climbs_the_loss_of_the_batch_it_faces():
    battle, generator = _battle(64), torch.Generator().manual_seed(0)
    alt = ARMS["ALT"].make_source(battle, (1, 16, 16), 64, generator)
    gains = []
    for seed in range(5):
        climbed = alt.sample(64, (1, 16, 16), torch.Generator().manual_seed(seed))
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("advbg.benchmark.study_sources._ASCENT_STEPS", 0)
            start = alt.sample(64, (1, 16, 16), torch.Generator().manual_seed(seed))
        gains.append((battle.harm(climbed) - battle.harm(start)).item())
    assert min(gains) > 0


def test_half_of_the_blended_backgrounds_are_of_two():
    class Flat:
        level = 0.0

        def sample(self, count, shape, generator):
            self.level += 0.25
            flat = torch.full((count, *shape), self.level)
            return flat if self.level < 0.7 else torch.rand((count, *shape), generator=generator)

    blended = Blended(Flat()).sample(4, (1, 8, 8), torch.Generator().manual_seed(0))
    assert blended[::2].unique().tolist() == [0.25]
    assert blended[1::2].unique().tolist() == [0.25, 0.5]


def test_arms_get_equal_seconds_and_are_tested_before_both_sets(digits, start_file, tmp_path):
    results = run_study(SETTINGS, digits, start_file, tmp_path / "study.json", lambda *_: None)
    assert list(results["arms"]) == ["random", "some climb"]
    for name, arm in results["arms"].items():
        assert arm["steps"] == max(1, round(50 / results["milliseconds"][name]))
        for part in ("choose", "report"):
            each = arm[part]["each"].values()
            assert len(each) == 30
            assert arm[part]["mean"] == pytest.approx(sum(each) / 30, abs=1e-3)
            assert arm[part]["all"] <= min(each)
    assert json.loads((tmp_path / "study.json").read_text()) == results


def test_a_study_that_was_stopped_goes_on_with_the_same_steps(digits, start_file, tmp_path, monkeypatch):
    output = tmp_path / "study.json"

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(SETTINGS, digits, start_file, output, stop)
    measured = json.loads(output.read_text())["milliseconds"]
    monkeypatch.setattr(study, "_time_steps", stop)
    assert run_study(SETTINGS, digits, start_file, output, lambda *_: None)["milliseconds"] == measured


def test_a_seed_trains_an_arm_the_same_again(digits, start_file, tmp_path):
    first = study._train_and_test("some climb", SETTINGS, digits, start_file, 5, lambda *_: None)
    second = study._train_and_test("some climb", SETTINGS, digits, start_file, 5, lambda *_: None)
    assert first["report"] == second["report"]


def test_a_study_of_other_settings_is_not_gone_on_with(digits, start_file, tmp_path):
    output = tmp_path / "study.json"
    run_study(SETTINGS, digits, start_file, output, lambda *_: None)
    other = replace(SETTINGS, arms=("random",))
    with pytest.raises(ValueError, match="has settings"):
        run_study(other, digits, start_file, output, lambda *_: None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"arms": ("nothing",)}, "`arms`"), ({"arms": ()}, "`arms`"), ({"seconds": 0.0}, "`seconds`")],
)
def test_settings_that_make_no_study_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        StudySettings(
            **({"arms": ("random",), "seconds": 1.0, "batch_size": 8, "seed": 0, "bfloat16": False} | changes)
        )


@pytest.mark.parametrize("name", [name for name, arm in ARMS.items() if arm.looks_at_batch])
def test_arms_that_ask_the_model_do_so_in_the_precision_of_the_training(name, digits, start_file, monkeypatch):
    precisions = []

    def watched(*_):
        precisions.append(torch.is_autocast_enabled("cpu"))

    make = study.PaperClassifier

    def make_watched(**sizes):
        model = make(**sizes)
        model.register_forward_hook(watched)
        return model

    monkeypatch.setattr(study, "PaperClassifier", make_watched)
    settings = replace(SETTINGS, arms=(name,), bfloat16=True)
    _, steps = study._steps(ARMS[name], settings, digits, start_file, 6)
    assert len(list(steps)) == 6
    assert len(precisions) > 6
    assert all(precisions)

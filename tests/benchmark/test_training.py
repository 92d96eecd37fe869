"""Rows of one run: shared first phases, options, seconds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from advbg import PaperObjective
from advbg.benchmark import training
from advbg.benchmark.datasets import load_dataset
from advbg.benchmark.training import Recipe, train
from advbg.files import DamagedStateError

RECIPE = Recipe(epochs=(1, 1, 1), batch_size=16, seed=3)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits", data_dir=Path(), train_size=40, seed=0)


def _train(method, digits, folder, recipe=RECIPE, shared=None):
    folder.mkdir(exist_ok=True)
    return train(method, digits, recipe, folder / "state.pt", lambda _: None, shared_file=shared)


def _same(first, second):
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("second", ["random", "proposal"])
def test_a_row_that_begins_with_anothers_masks_ends_as_if_it_had_trained_them_itself(second, digits, tmp_path):
    alone = _train(second, digits, tmp_path / "alone")
    _train("noise", digits, tmp_path / "noise", shared=tmp_path / "masks.pt")
    steps = []
    shared = train(
        second, digits, RECIPE, tmp_path / "state.pt", lambda p: steps.append(p.step), shared_file=tmp_path / "masks.pt"
    )
    assert steps[0] == 7
    assert _same(alone.model, shared.model)
    alone_state, shared_state = (each.wrapper.companions.state_dict() for each in (alone, shared))
    weights = [name for name in alone_state if not name.endswith("_extra_state")]
    assert weights
    assert all(torch.equal(alone_state[name], shared_state[name]) for name in weights)


def test_the_seconds_of_shared_phases_count_for_every_row(digits, tmp_path):
    first = _train("noise", digits, tmp_path / "noise", shared=tmp_path / "masks.pt")
    second = _train("black", digits, tmp_path / "black", shared=tmp_path / "masks.pt")
    assert list(second.seconds) == ["classifier", "mask", "adversarial"]
    assert (second.seconds["classifier"], second.seconds["mask"]) == (
        first.seconds["classifier"],
        first.seconds["mask"],
    )


def test_the_papers_masks_are_learned_by_the_labels(digits, tmp_path, monkeypatch):
    seen = []
    rate = PaperObjective.__call__

    def spy(self, model, images, mask, targets=None):
        seen.append(targets)
        return rate(self, model, images, mask, targets)

    monkeypatch.setattr(PaperObjective, "__call__", spy)
    _train("paper", digits, tmp_path)
    assert torch.equal(torch.cat(seen).sort().values, digits.train_targets.sort().values)


def test_a_damaged_shared_file_is_named(digits, tmp_path):
    (tmp_path / "masks.pt").write_bytes(b"no state")
    with pytest.raises(DamagedStateError, match=r"masks\.pt is damaged"):
        _train("noise", digits, tmp_path / "noise", shared=tmp_path / "masks.pt")


def test_attention_attends_after_the_first_two_phases(digits, tmp_path, monkeypatch):
    calls = []
    attend = training.AttentionClassifier.attend
    monkeypatch.setattr(training.AttentionClassifier, "attend", lambda self: (calls.append(self), attend(self)))
    trained = _train("attention", digits, tmp_path / "whole")
    assert len(calls) == 1
    assert trained.model.attending
    early = _train("attention", digits, tmp_path / "early", replace(RECIPE, epochs=(1, 1, 0)))
    assert not early.model.attending


def test_a_run_of_attention_that_was_stopped_while_attending_goes_on(digits, tmp_path, monkeypatch):
    recipe = replace(RECIPE, epochs=(1, 0, 2))
    whole = _train("attention", digits, tmp_path / "whole", recipe)
    save, saves = training.TrainingState.save, []

    def stopping(self, file, epochs_done):
        save(self, file, epochs_done)
        saves.append(epochs_done)
        if epochs_done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(training.TrainingState, "save", stopping)
    with pytest.raises(KeyboardInterrupt):
        _train("attention", digits, tmp_path / "broken", recipe)
    monkeypatch.setattr(training.TrainingState, "save", save)
    assert _same(whole.model, _train("attention", digits, tmp_path / "broken", recipe).model)


@pytest.mark.parametrize("options", [{"bfloat16": True}, {"augmentation": True}])
def test_precision_and_augmentation_change_the_training_and_a_seed_repeats_it(options, digits, tmp_path):
    recipe = replace(RECIPE, epochs=(0, 0, 1), **options)
    first, same = (_train("baseline", digits, tmp_path / name, recipe) for name in ("first", "same"))
    plain = _train("baseline", digits, tmp_path / "plain", replace(RECIPE, epochs=(0, 0, 1)))
    assert _same(first.model, same.model)
    assert not _same(first.model, plain.model)

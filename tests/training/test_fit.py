"""Training on images in memory."""

import dataclasses
from pathlib import Path

import pytest
import torch
from timm import create_model

from advbg import AdversarialBackground, PaperObjective
from advbg.files import DamagedStateError
from advbg.training.fit import fit, steps_per_epoch
from advbg.training.settings import TRAINING_METHODS, FitSettings
from tests.training.made_up import some_data

QUICK = FitSettings(epochs=3, batch_size=6)


def a_model(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # One with dropout, which draws from the global random stream.
        return create_model("test_efficientnet", num_classes=3, drop_rate=0.2)


def weights(fitted):
    return {name: tensor.clone() for name, tensor in fitted.model.state_dict().items()}


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def timeless(history):
    return [{name: value for name, value in epoch.items() if name != "seconds"} for epoch in history]


@pytest.mark.parametrize("method", [name for name in TRAINING_METHODS if name != "photographs"])
def test_every_method_takes_the_same_steps_and_goes_through_its_phases(method) -> None:
    reports = []
    fitted = fit(
        a_model(), some_data(), dataclasses.replace(QUICK, method=method, mask_share=0.2), report=reports.append
    )
    assert [progress.step for progress in reports] == list(range(1, 10))
    assert {progress.total_steps for progress in reports} == {9}
    phases = list(dict.fromkeys(progress.phase for progress in reports))
    assert phases == (["plain"] if method == "baseline" else ["classifier", "mask", "adversarial"])
    assert list(fitted.phase_seconds) == ([] if method == "baseline" else ["first guess"]) + phases
    assert (fitted.wrapper is None) == (method == "baseline")
    assert not fitted.model.training


def test_the_history_says_how_each_epoch_went() -> None:
    fitted = fit(a_model(), some_data(), QUICK)
    assert [epoch["epoch"] for epoch in fitted.history] == [1, 2, 3]
    assert [epoch["phases"] for epoch in fitted.history] == [["classifier"], ["mask", "adversarial"], ["adversarial"]]
    assert [epoch["mask_loss"] is not None for epoch in fitted.history] == [False, True, False]
    for epoch in fitted.history:
        assert epoch["seconds"] > 0
        assert 0 <= epoch["held_out_accuracy"] <= 100
        assert epoch["loss"] > 0 < epoch["held_out_loss"]


@pytest.mark.parametrize("method", ["baseline", "proposal"])
def test_a_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, method) -> None:
    settings, data = dataclasses.replace(QUICK, method=method, epochs=4), some_data()
    unbroken = fit(a_model(), data, settings)

    for stop in (1, 2):

        def interrupt(fitted, stop=stop):
            if len(fitted.history) == stop:
                raise KeyboardInterrupt

        file = tmp_path / f"{stop}.pt"
        with pytest.raises(KeyboardInterrupt):
            fit(a_model(), data, settings, state_file=file, after_epoch=interrupt)
        torch.rand(3)  # the global random stream may have gone anywhere meanwhile
        resumed = fit(a_model(seed=5), data, settings, state_file=file)
        assert same(weights(unbroken), weights(resumed))
        assert timeless(unbroken.history) == timeless(resumed.history)
        assert unbroken.best_epoch == resumed.best_epoch
        assert same(unbroken.best_weights, resumed.best_weights)
        if method == "proposal":
            mine, theirs = (fitted.wrapper.companions.state_dict() for fitted in (unbroken, resumed))
            assert torch.equal(mine["_extra_state"]["generator"], theirs["_extra_state"]["generator"])
            assert mine["source._extra_state"] == theirs["source._extra_state"]
            assert same(*({name: part[name] for name in part if "extra" not in name} for part in (mine, theirs)))


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    first = fit(a_model(), some_data(), QUICK, state_file=tmp_path / "state.pt")
    reports = []
    again = fit(a_model(seed=3), some_data(), QUICK, state_file=tmp_path / "state.pt", report=reports.append)
    assert reports == []
    assert same(weights(first), weights(again))


def test_a_state_of_another_training_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "state.pt"
    fit(a_model(), some_data(), dataclasses.replace(QUICK, epochs=1), state_file=file)
    with pytest.raises(DamagedStateError, match=r"state.pt is of a training with `settings`"):
        fit(a_model(), some_data(), QUICK, state_file=file)
    with pytest.raises(DamagedStateError, match=r"state.pt is of a training with `images`"):
        fit(a_model(), some_data(19), dataclasses.replace(QUICK, epochs=1), state_file=file)
    file.write_bytes(b"damaged")
    with pytest.raises(DamagedStateError, match=r"state.pt is damaged: remove it"):
        fit(a_model(), some_data(), QUICK, state_file=file)


def test_a_seed_gives_the_same_model_and_another_does_not() -> None:
    first = fit(a_model(), some_data(), QUICK)
    assert same(weights(first), weights(fit(a_model(), some_data(), QUICK)))
    assert not same(weights(first), weights(fit(a_model(), some_data(), dataclasses.replace(QUICK, seed=1))))


def test_the_global_random_stream_stays_as_it_was() -> None:
    model, before = a_model(), torch.get_rng_state()
    fit(model, some_data(), QUICK)
    assert torch.equal(torch.get_rng_state(), before)


def test_given_silhouettes_make_the_mask_phase_superfluous() -> None:
    reports = []
    fitted = fit(a_model(), some_data(silhouettes=True), QUICK, report=reports.append)
    assert {progress.phase for progress in reports} == {"classifier", "adversarial"}
    assert fitted.wrapper.companions.masks_given


def test_silhouettes_move_with_their_images(monkeypatch) -> None:
    data, seen = some_data(silhouettes=True), []
    forward = AdversarialBackground.forward

    def spy(self, images, *args, mask=None, **kwargs):
        seen.append((self.companions.pixel_space.to_pixels(images), mask))
        return forward(self, images, *args, mask=mask, **kwargs)

    monkeypatch.setattr(AdversarialBackground, "forward", spy)
    fit(a_model(), data, dataclasses.replace(QUICK, epochs=1))
    pixels, masks = (torch.cat(part) for part in zip(*seen, strict=True))
    objects = pixels.amin(dim=1, keepdim=True) < 0.6
    overlap = (objects & masks).sum() / (objects | masks).sum()
    assert overlap > 0.9
    assert not torch.equal(masks[0], masks[1])


def test_the_papers_masks_are_learned_by_the_labels(monkeypatch) -> None:
    data, seen = some_data(), []
    rate = PaperObjective.__call__

    def spy(self, model, images, mask, targets=None):
        seen.append(targets)
        return rate(self, model, images, mask, targets)

    monkeypatch.setattr(PaperObjective, "__call__", spy)
    fit(a_model(), data, dataclasses.replace(QUICK, method="paper", classifier_share=0.0, mask_share=0.34))
    # The mask phase is the first of three epochs, so that it has seen every image once.
    assert torch.equal(torch.cat(seen).sort().values, data.targets.sort().values)


def test_the_best_epoch_is_one_that_has_met_other_backgrounds(monkeypatch) -> None:
    accuracies = iter([90.0, 40.0, 60.0, 60.0, 50.0])
    monkeypatch.setattr("advbg.training.fit.accuracy", lambda *_: next(accuracies))
    kept = {}
    fitted = fit(
        a_model(),
        some_data(),
        dataclasses.replace(QUICK, epochs=5, classifier_share=0.2),
        after_epoch=lambda fitted: kept.update({len(fitted.history): weights(fitted)}),
    )
    assert fitted.best_epoch == 4
    assert same(fitted.best_weights, kept[4])
    assert not same(fitted.best_weights, kept[5])


@pytest.mark.parametrize(
    ("images", "batch_size", "steps"), [(64, 32, 2), (63, 32, 1), (65, 32, 2), (3, 2, 1), (2, 32, 1)]
)
def test_no_batch_is_nearly_empty(images, batch_size, steps) -> None:
    assert steps_per_epoch(images, batch_size) == steps


def test_a_training_that_is_too_short_for_its_phases_is_refused() -> None:
    with pytest.raises(ValueError, match="are 2 steps, but there are 3 phases"):
        fit(a_model(), some_data(6), dataclasses.replace(QUICK, epochs=2))
    assert fit(a_model(), some_data(6), dataclasses.replace(QUICK, epochs=2, method="baseline")).history


def test_bfloat16_trains_as_well() -> None:
    fitted = fit(a_model(), some_data(), dataclasses.replace(QUICK, precision="bfloat16"))
    assert all(tensor.dtype != torch.bfloat16 for tensor in fitted.model.state_dict().values())
    assert not same(weights(fitted), weights(fit(a_model(), some_data(), QUICK)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"method": "attention"}, r"`method` \(='attention'\) must be one of baseline, black"),
        ({"epochs": 0}, r"`epochs` \(=0\) must be 1 or more"),
        ({"batch_size": 1}, r"`batch_size` \(=1\) must be 2 or more"),
        ({"seed": -1}, r"`seed` \(=-1\) must be 0 or more"),
        ({"learning_rate": 0.0}, r"`learning_rate` \(=0.0\) must be above 0"),
        ({"learning_rate": float("nan")}, r"`learning_rate` \(=nan\) must be above 0"),
        ({"precision": "float16"}, r"`precision` \(='float16'\) must be one of"),
        ({"method": "black", "background": "noise"}, r"`background` \(='noise'\) goes with `method` proposal"),
        ({"method": "random", "clutter": 0.5}, r"`clutter` \(=0.5\) goes with `method` proposal, not random"),
        (
            {"method": "baseline", "distractors": 0.0},
            r"`distractors` \(=0.0\) goes with `method` proposal, not baseline",
        ),
        ({"method": "noise", "candidates": 2}, r"`candidates` \(=2\) goes with `method` proposal, not noise"),
        ({"candidates": 0}, r"`candidates` \(=0\) must be 1 or more"),
        ({"method": "baseline", "copies": 0.5}, r"`copies` \(=0.5\) must be 0 for `method` baseline"),
        ({"method": "paper", "copies": 0.5}, r"`copies` \(=0.5\) must be 0 for `method` paper"),
        ({"background": "nowhere"}, r"`background` \(='nowhere'\) must be one of"),
        ({"method": "photographs"}, r"`photographs` \(=None\) must be a folder if `method`"),
        ({"photographs": "."}, r"`photographs` \(='.'\) must be a folder if `method`"),
        ({"classifier_share": 0.9, "mask_share": 0.1}, r"must be under 1"),
        ({"mask_share": 0.0}, r"`mask_share` \(=0.0\) must be above 0"),
    ],
)
def test_settings_out_of_range_are_named(changed, message) -> None:
    with pytest.raises(ValueError, match=message):
        FitSettings(**changed)


def test_the_seconds_are_those_of_the_first_guess_and_of_all_epochs() -> None:
    fitted = fit(a_model(), some_data(), QUICK)
    assert fitted.phase_seconds["first guess"] > 0
    epochs = sum(epoch["seconds"] for epoch in fitted.history)
    assert fitted.seconds == pytest.approx(epochs + fitted.phase_seconds["first guess"])
    assert fitted.seconds >= 0.99 * sum(fitted.phase_seconds.values()) - 0.05


def test_every_composite_but_the_papers_has_a_place_copies_and_a_light() -> None:
    for method in TRAINING_METHODS:
        folder = "." if method == "photographs" else None
        copies = 0.0 if method in ("baseline", "paper") else 0.125
        settings = FitSettings(method=method, photographs=folder, placement=0.25, copies=copies, clean_share=0.5)
        appearance = {"placement": 0.25, "copies": 0.125, "lighting": 0.4, "clean_share": 0.5}
        options = settings.companion_options() or {}
        if copies:
            assert options.items() >= appearance.items()
        else:
            assert not options.keys() & (appearance.keys() - {"clean_share"})
            assert options.get("clean_share") == (0.0 if method == "paper" else None)


@pytest.mark.parametrize(
    ("tuning", "pretrained", "suits"),
    [("plain", False, (0.5, 0)), ("plain", True, (0, 0)), ("ordinary", True, (0.25, 1)), ("gentle", True, (0.5, 0))],
)
def test_a_tuning_has_its_own_clutter_and_distractors_unless_others_are_said(
    tuning: str, pretrained: bool, suits: tuple[float, float]
) -> None:
    for name, own in zip(("clutter", "distractors"), suits, strict=True):
        assert (FitSettings.of(tuning, pretrained=pretrained).companion_options() or {})[name] == own
        said = FitSettings.of(tuning, pretrained=pretrained, **{name: 0.125})
        assert (said.companion_options() or {})[name] == 0.125
        assert getattr(FitSettings.of(tuning, pretrained=pretrained, method="random"), name) is None
    for said in ({"background": "scenes"}, {"hold_statistics": True}):
        others = FitSettings.of(tuning, pretrained=pretrained, **said).companion_options() or {}
        assert (others["clutter"], others["distractors"]) == (suits[0], 0)


def test_only_the_proposal_has_clutter_and_may_have_distractors() -> None:
    for method in TRAINING_METHODS:
        folder = "." if method == "photographs" else None
        options = FitSettings(method=method, photographs=folder).companion_options() or {}
        assert options.get("clutter") == (0.5 if method == "proposal" else None)
        assert options.get("distractors") == (0.0 if method == "proposal" else None)


@pytest.mark.parametrize("method", ["baseline", "paper", "proposal"])
@pytest.mark.parametrize(
    "option",
    [
        *({"placement": 7.0}, {"copies": -1.0}, {"clean_share": 2.0}),
        *({"lighting": -3.0}, {"clutter": 1.5}, {"distractors": 3.0}),
    ],
)
def test_places_copies_light_clutter_and_distractors_out_of_range_are_refused_for_every_method(method, option) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(option))}`"):
        FitSettings(method=method, **option)

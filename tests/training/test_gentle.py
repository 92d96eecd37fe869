"""Fine-tuning that keeps what a pre-trained model knows."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from timm import create_model
from torch import nn

from advbg.benchmark.case_study.rows import CaseRecipe
from advbg.training import gentle
from advbg.training.fit import fit
from advbg.training.gentle import check_classifier, fit_classifier, interpolate_weights, interpolated
from advbg.training.models import choose_tuning
from advbg.training.prepare import RunSettings
from advbg.training.settings import FitSettings
from advbg.training.testing import predict
from advbg.training.tunings import GENTLE, ORDINARY, PLAIN
from tests.training.made_up import some_data

QUICK = FitSettings(epochs=3, batch_size=6, mask_share=0.2)
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def a_model(seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return create_model("test_efficientnet", num_classes=3)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("method", ["baseline", "proposal"])
def test_a_gentle_training_leaves_the_statistics_as_they_were_and_a_plain_one_if_it_is_told_to(method) -> None:
    for tuning, told in ((PLAIN, False), (PLAIN, True), (GENTLE, False)):
        model = a_model()
        before = state(model)
        fit(model, some_data(), dataclasses.replace(QUICK, method=method, tuning=tuning, hold_statistics=told))
        after = model.state_dict()
        kept = [torch.equal(before[name], after[name]) for name in before if name.endswith(STATISTICS)]
        assert len(kept) > 0
        assert (all if tuning == GENTLE or told else not_any)(kept)


def not_any(values):
    return not any(values)


def test_a_gentle_training_ends_two_fifths_of_the_way_back_to_the_first_weights(tmp_path: Path) -> None:
    model = a_model()
    first_body = state(model)
    file = tmp_path / "state.pt"
    fitted = fit(model, some_data(), dataclasses.replace(QUICK, method="baseline", tuning=GENTLE), state_file=file)
    saved = torch.load(file, weights_only=True)
    before, trained, moved = saved["first_weights"], saved["parts"]["model"], 0
    different = {name for name, tensor in before.items() if not torch.equal(tensor, first_body[name])}
    assert different == {"classifier.weight", "classifier.bias"}
    for name, tensor in fitted.model.state_dict().items():
        if tensor.is_floating_point():
            expected = 0.4 * before[name].double() + 0.6 * trained[name].double()
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-5, atol=1e-7)
            moved += not torch.equal(tensor, trained[name])
    assert moved > 10


def test_epochs_are_rated_with_interpolated_weights_too() -> None:
    fitted = fit(a_model(), some_data(), dataclasses.replace(QUICK, method="baseline", epochs=1, tuning=GENTLE))
    data = some_data()
    logits = predict(fitted.model, data.held_out_images)
    rated = nn.functional.cross_entropy(logits, data.held_out_targets).item()
    assert fitted.history[0]["held_out_loss"] == pytest.approx(rated, abs=1e-7)
    assert fitted.best_epoch == 1
    assert all(torch.equal(tensor, fitted.best_weights[name]) for name, tensor in fitted.model.state_dict().items())


def test_rating_with_interpolated_weights_changes_nothing_even_when_it_fails() -> None:
    model, first = a_model(), state(a_model(seed=1))
    before = state(model)

    def rate():
        with interpolated(model, first):
            assert not torch.equal(model.state_dict()["classifier.weight"], before["classifier.weight"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rate()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_weights_that_layers_share_are_interpolated_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    nn.init.zeros_(model[0].weight)
    first = {name: torch.ones(2, 2) for name in model.state_dict()}
    interpolate_weights(model, first)
    torch.testing.assert_close(model[0].weight.data, torch.full((2, 2), 0.4))


def test_interpolating_leaves_counters_alone() -> None:
    model, first = a_model(), state(a_model(seed=1))
    model.train()(torch.rand(2, 3, 32, 32))
    interpolate_weights(model, first)
    counters = [tensor for name, tensor in model.state_dict().items() if name.endswith("num_batches_tracked")]
    assert {int(counter) for counter in counters} == {1}


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_gentle_training_that_was_stopped_goes_on_bit_for_bit(tmp_path: Path, stop) -> None:
    settings, data = dataclasses.replace(QUICK, tuning=GENTLE), some_data()
    unbroken = fit(a_model(), data, settings)

    def interrupt(fitted):
        if len(fitted.history) == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(a_model(), data, settings, state_file=tmp_path / "state.pt", after_epoch=interrupt)
    resumed = fit(a_model(seed=5), data, settings, state_file=tmp_path / "state.pt")
    for mine, theirs in zip(unbroken.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert unbroken.best_epoch == resumed.best_epoch
    assert all(torch.equal(tensor, resumed.best_weights[name]) for name, tensor in unbroken.best_weights.items())
    rated = [[epoch["held_out_loss"] for epoch in fitted.history] for fitted in (unbroken, resumed)]
    assert rated[0] == rated[1]


def test_pre_trained_models_are_tuned_gently_unless_it_is_said_otherwise() -> None:
    assert choose_tuning(None, Path("file"), pretrained=False) == GENTLE
    assert choose_tuning(None, None, pretrained=True) == GENTLE
    assert choose_tuning(None, None, pretrained=False) == PLAIN
    assert choose_tuning(PLAIN, Path("file"), pretrained=False) == PLAIN


@pytest.mark.parametrize("tuning", [GENTLE, ORDINARY])
def test_random_weights_cannot_be_tuned_as_pre_trained_ones(tuning: str) -> None:
    with pytest.raises(ValueError, match=rf"`tuning` \(='{tuning}'\) needs a pre-trained model: pass `weights` or"):
        choose_tuning(tuning, None, pretrained=False)
    with pytest.raises(ValueError, match="needs a pre-trained model"):
        RunSettings("folder", "resnet18", training=FitSettings.of(tuning))
    with pytest.raises(ValueError, match="needs a pre-trained model"):
        CaseRecipe("resnet18", None, False, 32, 3, 6, 2e-4, "float32", tuning)


@pytest.mark.parametrize("make", [FitSettings.of, lambda tuning: FitSettings(tuning=tuning)])
def test_an_unknown_tuning_is_refused(make) -> None:
    with pytest.raises(ValueError, match=r"`tuning` \(='soft'\) must be one of plain, ordinary, gentle"):
        make("soft")


def test_each_tuning_has_a_learning_rate_and_phases_of_its_own_unless_others_are_said() -> None:
    assert FitSettings.of(PLAIN) == FitSettings()
    gentle = FitSettings.of(GENTLE, seed=3)
    assert (gentle.tuning, gentle.seed) == (GENTLE, 3)
    assert gentle.learning_rate < FitSettings().learning_rate
    assert gentle.classifier_share < FitSettings().classifier_share
    assert FitSettings.of(PLAIN, pretrained=True).classifier_share == gentle.classifier_share
    assert FitSettings.of(PLAIN, pretrained=True).learning_rate == FitSettings().learning_rate
    assert FitSettings.of(GENTLE, 0.1).learning_rate == 0.1
    with pytest.raises(ValueError, match=r"`learning_rate` \(=0.0\) must be above 0"):
        FitSettings.of(GENTLE, 0.0)
    assert FitSettings.of(GENTLE, classifier_share=0.2).classifier_share == 0.2
    # The paper's masks begin with no guess.
    of_paper = FitSettings.of(ORDINARY, method="paper")
    assert (of_paper.classifier_share, of_paper.mask_share) == (0.05, 0.1)


def test_the_classifier_is_fitted_as_scikit_learn_fits_one() -> None:
    model, data = a_model(), some_data()
    fit_classifier(model, data.images, data.targets, bfloat16=False)
    with torch.no_grad():
        images = (data.images / 255 - torch.tensor(model.default_cfg["mean"])[:, None, None]) / torch.tensor(
            model.default_cfg["std"]
        )[:, None, None]
        features = model.forward_head(model.forward_features(images), pre_logits=True)
        ours = model.get_classifier()(features).softmax(dim=1).double().numpy()
    # Its `C` weighs the sum of the losses against half of the squared weights; ours is the mean.
    reference = LogisticRegression(C=1 / (0.01 * len(data.images)), tol=1e-8, max_iter=5000)
    theirs = reference.fit(features.double().numpy(), data.targets.numpy()).predict_proba(features.double().numpy())
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_regression_is_that_of_scikit_learn_where_features_say_much() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(120, generator=generator) ** 2 * 4).long()
    features = torch.randn(120, 5, generator=generator) + torch.nn.functional.one_hot(targets, 5) * 1.5 + 2
    weights = gentle._logistic_regression(features, targets, 4).double()
    ours = (features.double() @ weights[:, :-1].T + weights[:, -1]).softmax(dim=1).numpy()
    reference = LogisticRegression(C=1 / (0.01 * 120), tol=1e-10, max_iter=10_000)
    theirs = reference.fit(features.double().numpy(), targets.numpy()).predict_proba(features.double().numpy())
    assert theirs.max(axis=1).mean() > 0.7
    np.testing.assert_allclose(ours, theirs, atol=4e-3)


def test_a_class_without_images_is_never_the_likeliest() -> None:
    model, data = a_model(), some_data()
    targets = data.targets % 2
    fit_classifier(model, data.images, targets, bfloat16=False)
    assert set(predict(model, data.images).argmax(dim=1).tolist()) <= {0, 1}


def test_nothing_but_the_classifier_changes_when_it_is_fitted() -> None:
    model, data = a_model(), some_data()
    before = state(model)
    fit_classifier(model, data.images, data.targets, bfloat16=True)
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    assert len(model.get_classifier()._forward_hooks) == 0


def test_a_model_without_a_linear_classifier_is_refused_before_anything_is_trained() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    with pytest.raises(ValueError, match=r"`get_classifier\(\)` is a `Linear`, but that of Sequential is NoneType"):
        fit(model, some_data(), dataclasses.replace(QUICK, method="baseline", tuning=GENTLE))
    assert check_classifier(a_model()).out_features == 3


def test_a_model_whose_logits_are_more_than_its_classifiers_output_is_refused() -> None:
    class Doubled(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(3, 3)

        def get_classifier(self):
            return self.head

        def forward(self, images):
            return 2 * self.head(images.mean(dim=(2, 3)))

    data = some_data()
    with pytest.raises(ValueError, match=r"the logits of Doubled are more than its output: pass `--tuning plain`"):
        fit_classifier(Doubled(), data.images, data.targets, bfloat16=False)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_features_are_taken_in_the_precision_that_is_asked_for(bfloat16: bool) -> None:
    model, data, seen = a_model(), some_data(), set()
    model.conv_stem.register_forward_pre_hook(lambda *_: seen.add(torch.is_autocast_enabled("cpu")))
    fit_classifier(model, data.images, data.targets, bfloat16=bfloat16)
    assert seen == {bfloat16}

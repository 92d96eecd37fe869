"""Statistics that a pre-trained model keeps."""

import warnings

import pytest
import torch
from torch import nn

from advbg import AdversarialBackground, Schedule, attach, hold_statistics
from advbg.integrations.timm import AdversarialBackgroundTask
from tests.models import a_batch, tiny_classifier


def statistics(model):
    named = model.state_dict().items()
    return {name: tensor.clone() for name, tensor in named if "running" in name or "num_batches" in name}


def unchanged(before, model):
    return all(torch.equal(tensor, before[name]) for name, tensor in statistics(model).items())


def test_statistics_are_held_until_the_next_call_of_train() -> None:
    model = tiny_classifier(batch_norm=True).train()
    images = a_batch()[0]
    hold_statistics(model)
    before = statistics(model)
    assert len(before) > 0
    model(images)
    assert unchanged(before, model)
    model.train()
    model(images)
    assert not unchanged(before, model)


def test_held_statistics_normalise_as_in_evaluation() -> None:
    model = tiny_classifier(batch_norm=True).train()
    images = a_batch()[0]
    model(images)
    hold_statistics(model)
    held = model(images)
    assert torch.equal(held, model.eval()(images))


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_every_kind_of_batch_norm_is_held_and_nothing_else(kind) -> None:
    model = nn.ModuleDict({"norm": kind(2), "dropout": nn.Dropout(), "group": nn.GroupNorm(1, 2)}).train()
    hold_statistics(model)
    assert {name: module.training for name, module in model.items()} == {
        "norm": False,
        "dropout": True,
        "group": True,
    }


@pytest.mark.parametrize("way", ["wrapped", "attached", "timm's task"])
@pytest.mark.parametrize("held", ["by the option", "once", "never"])
def test_held_statistics_stay_through_every_phase(way, held) -> None:
    model = tiny_classifier(batch_norm=True)
    model(a_batch()[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"schedule": Schedule(classifier=1, mask=1), "hold_statistics": held == "by the option"}
    if way == "attached":
        forward = model
        companions = attach(model, optimizer, **options).companions
    elif way == "wrapped":
        forward = AdversarialBackground(model, **options)
        forward.attach(optimizer)
        companions = forward.companions
    else:
        forward = AdversarialBackgroundTask(model, verbose=False, **options)
        companions = forward.companions
    forward.train()
    if held == "once":
        hold_statistics(forward)
    before, phases = statistics(model), []
    weight = model[0].weight.detach().clone()
    images, targets = a_batch()
    for _ in range(3):
        if held != "once":  # as trainers do before every epoch or step
            forward.train()
        phases.append(companions.phase)
        outputs = forward(images, targets)["output"] if way == "timm's task" else forward(images)
        nn.functional.cross_entropy(outputs, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert phases == ["classifier", "mask", "adversarial"]
    assert unchanged(before, model) == (held != "never")
    assert not torch.equal(weight, model[0].weight)


def test_the_option_touches_batch_norm_alone() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.0))
    model(a_batch()[0])
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=9, mask=1), hold_statistics=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    wrapper.train()(a_batch()[0])
    assert [module.training for module in model] == [True, False, True]


def test_the_option_holds_layers_that_train_in_a_model_that_does_not() -> None:
    model = tiny_classifier(batch_norm=True)
    model(a_batch()[0])
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=9, mask=1), hold_statistics=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    before = statistics(model)
    model.training = False
    images = a_batch()[0]
    wrapper(images, params=wrapper.generate_parameters(images))
    assert unchanged(before, model)


def test_replayed_draws_leave_held_statistics_too() -> None:
    model = tiny_classifier(batch_norm=True)
    images, mask = a_batch()[0], a_batch()[0].amax(dim=1) > 0
    model(images)
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=0, mask=0), hold_statistics=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    before = statistics(model)
    params = wrapper.train().generate_parameters(images, mask)
    wrapper(images, mask=mask, params=params)
    assert unchanged(before, model)


@pytest.mark.parametrize("averaged", ["the model", "the wrapper", "the attached model"])
def test_who_gathers_statistics_anew_gets_them(averaged) -> None:
    model, images = tiny_classifier(batch_norm=True), a_batch()[0]
    model(images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"schedule": Schedule(classifier=9, mask=1), "hold_statistics": True}
    if averaged == "the attached model":
        forward = model
        attach(model, optimizer, **options)
    else:
        forward = AdversarialBackground(model, **options)
        forward.attach(optimizer)
    forward.train()(images)
    torch.optim.swa_utils.update_bn([images], model if averaged == "the model" else forward)
    gathered = {name: tensor for name, tensor in statistics(model).items() if tensor.is_floating_point()}
    # Of a batch alone: its mean, and its variance without a share of what was there before.
    seen = model[0](images)
    expected = (seen.mean(dim=(0, 2, 3)), seen.var(dim=(0, 2, 3)))
    torch.testing.assert_close(tuple(gathered.values()), expected)
    forward.train()(images)
    assert all(torch.equal(tensor, statistics(model)[name]) for name, tensor in gathered.items())


def test_there_is_a_warning_of_held_statistics_that_nothing_has_gathered() -> None:
    model = nn.Sequential(tiny_classifier(batch_norm=True), nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False))
    model[1].running_mean.fill_(0.5)
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=9, mask=1), hold_statistics=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    with pytest.warns(UserWarning, match=r"`hold_statistics` \(=True\) .* 2 layers began with \(0\.\d, 2\): load"):
        wrapper(a_batch()[0])
    wrapper(a_batch()[0])  # where a warning would be an error


def _silently_called(norm: nn.Module) -> None:
    wrapper = AdversarialBackground(
        nn.Sequential(norm), schedule=Schedule(0, 0), mask_generator="nonzero", hold_statistics=True
    )
    wrapper.companions.attached = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert wrapper(a_batch()[0]).shape == (8, 3, 32, 32)


def test_statistics_of_which_only_the_variance_was_gathered_are_not_warned_of() -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_var.fill_(2.0)
    _silently_called(norm)


def test_layers_without_statistics_and_such_as_do_not_know_their_size_are_let_through() -> None:
    _silently_called(nn.BatchNorm2d(3, track_running_stats=False))
    _silently_called(nn.LazyBatchNorm2d())

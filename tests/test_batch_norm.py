"""Statistics that a pre-trained model keeps."""

import pytest
import torch
from torch import nn

from advbg import AdversarialBackground, Schedule, attach, hold_statistics
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


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("held", ["by the option", "once", "never"])
def test_held_statistics_stay_through_every_phase(wrapped, held) -> None:
    model = tiny_classifier(batch_norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    options = {"schedule": Schedule(classifier=1, mask=1), "hold_statistics": held == "by the option"}
    if wrapped:
        forward = AdversarialBackground(model, **options)
        forward.attach(optimizer)
        companions = forward.companions
    else:
        forward = model
        companions = attach(model, optimizer, **options).companions
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
        nn.functional.cross_entropy(forward(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert phases == ["classifier", "mask", "adversarial"]
    assert unchanged(before, model) == (held != "never")
    assert not torch.equal(weight, model[0].weight)


def test_the_option_leaves_a_model_in_evaluation_and_its_other_layers_as_they_are() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.0), nn.Flatten(), nn.LazyLinear(4))
    images = a_batch()[0]
    model.eval()(images)
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=9, mask=0), hold_statistics=True)
    wrapper.attach(torch.optim.SGD(model.parameters(), lr=0.1))
    wrapper.train()(images)
    assert [module.training for module in model] == [True, False, True, True, True]
    wrapper.eval()(images)
    assert not any(module.training for module in model.modules())

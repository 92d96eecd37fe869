"""The wrapper in hands that know modules alone: copied, named, and loaded by assignment."""

import copy

import pytest
import torch
from torch import nn

from advbg import AdversarialBackground
from tests.models import a_batch, adversarial_wrapper, tiny_classifier


def test_a_copy_follows_no_optimizer_and_says_so_when_it_is_trained() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    twin = copy.deepcopy(wrapper)
    assert wrapper.companions.attached
    assert not twin.companions.attached
    with pytest.warns(UserWarning, match="follow no optimizer"):
        twin(a_batch()[0])


def test_a_state_that_is_assigned_becomes_the_models_own_tensors() -> None:
    wrapper = AdversarialBackground(tiny_classifier())
    state = tiny_classifier(seed=1).state_dict()
    wrapper.load_state_dict(state, assign=True)
    assert wrapper.model[0].weight.data_ptr() == state["0.weight"].data_ptr()


def test_a_wrapper_of_a_model_that_knows_how_to_be_copied_is_copied_with_its_companions() -> None:
    # A traced model has a `__deepcopy__` of its own.
    wrapper = AdversarialBackground(torch.fx.symbolic_trace(tiny_classifier()))
    twin = copy.deepcopy(wrapper)
    assert isinstance(twin, AdversarialBackground)
    assert twin.companions is not wrapper.companions


def test_parameters_of_a_wrapper_that_is_there_twice_are_named_twice_as_the_models_would_be() -> None:
    wrapper = AdversarialBackground(tiny_classifier())
    twice, plain = (nn.ModuleDict({"a": part, "b": part}) for part in (wrapper, wrapper.model))
    ours, expected = (
        [name for name, _ in module.named_parameters(remove_duplicate=False)] for module in (twice, plain)
    )
    assert ours == expected

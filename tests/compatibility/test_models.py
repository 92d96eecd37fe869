"""Compiled, copied and saved models, and the names of parameters within a larger module."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import advbg
from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, run_without_type_checks, tiny_classifier

# Dynamo cannot trace the type checks of this suite, hence a process of its own.
_COMPILED = """
    import torch
    from advbg import AdversarialBackground, Schedule
    from tests.models import tiny_classifier, train

    def run(compiled):
        model = tiny_classifier()
        called = torch.compile(model, backend="{backend}", fullgraph=True) if compiled else model
        wrapper = AdversarialBackground(called, schedule=Schedule(1, 2))
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        losses = train(wrapper, optimizer, 6)
        assert wrapper.phase == "adversarial"
        return losses

    torch.testing.assert_close(torch.tensor(run(True)), torch.tensor(run(False)), rtol=1e-4, atol=1e-5)
"""


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_a_compiled_model_trains_as_an_uncompiled_one(backend: str) -> None:
    run_without_type_checks(_COMPILED.format(backend=backend))


def test_a_compiled_wrapper_trains_as_an_uncompiled_one() -> None:
    run_without_type_checks(
        """
        import torch
        from tests.models import adversarial_wrapper, train

        def run(compiled):
            wrapper = adversarial_wrapper()
            optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
            wrapper.attach(optimizer)
            return train(torch.compile(wrapper, backend="eager") if compiled else wrapper, optimizer, 3)

        torch.testing.assert_close(torch.tensor(run(True)), torch.tensor(run(False)))
        """
    )


@pytest.mark.parametrize("entrance", ["wrapper", "attach"])
def test_a_compiled_training_is_compiled_a_few_times_not_in_every_step(entrance: str) -> None:
    run_without_type_checks(
        f"""
        import torch
        import advbg
        from advbg import AdversarialBackground, Schedule
        from tests.models import tiny_classifier, train

        graphs = []

        def count(graph, inputs):
            graphs.append(graph)
            return graph.forward

        model, options = tiny_classifier(), {{"schedule": Schedule(2, 2), "clutter": 0.5}}
        called = AdversarialBackground(model, **options) if {entrance!r} == "wrapper" else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        called.attach(optimizer) if {entrance!r} == "wrapper" else advbg.attach(model, optimizer, **options)
        compiled = torch.compile(called, backend=count)
        train(compiled, optimizer, 6)
        so_far = len(graphs)
        train(compiled, optimizer, 6, first=6)
        assert 0 < len(graphs) == so_far <= 4, (so_far, len(graphs))
        """
    )


def test_a_whole_attached_model_is_copied_and_saved_as_a_plain_one() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
    images, _ = a_batch()
    assert not torch.equal(model(images), tiny_classifier()(images))
    with pytest.raises((AttributeError, pickle.PicklingError), match="attach"):
        torch.save(model, io.BytesIO())
    file = io.BytesIO()
    attachment.remove()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(images), tiny_classifier()(images))
    assert torch.equal(copy.deepcopy(model)(images), tiny_classifier()(images))


def test_parameters_within_a_larger_module_have_the_names_of_its_state_and_are_found_by_them() -> None:
    wrapped = nn.ModuleDict({"net": adversarial_wrapper(tiny_classifier(batch_norm=True)), "head": nn.Linear(2, 2)})
    plain = nn.ModuleDict({"net": tiny_classifier(batch_norm=True), "head": nn.Linear(2, 2)})
    for members in ("named_parameters", "named_buffers", "state_dict"):
        assert list(dict(getattr(wrapped, members)())) == list(dict(getattr(plain, members)()))
    for name, parameter in wrapped.named_parameters():
        assert wrapped.get_parameter(name) is parameter


def test_modules_of_a_wrapper_are_named_as_the_models_and_named_once() -> None:
    model = tiny_classifier()
    wrapper = AdversarialBackground(model)
    assert [module for _, module in wrapper.named_modules()] == [wrapper, *model.modules()]
    assert dict(wrapper.named_modules(prefix="net"))["net.0"] is model[0]
    assert list(nn.ModuleList([wrapper, wrapper]).modules())[1:] == [wrapper, *model.modules()]

"""The wrapper in the place of its model: in training, in evaluation, as a part of something larger, on a GPU."""

import copy
import pickle
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import advbg
from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train

_needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert list(first) == list(second)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_before_the_adversarial_phase_the_model_trains_as_if_it_were_alone_bit_for_bit() -> None:
    alone, wrapped = tiny_classifier(batch_norm=True), tiny_classifier(batch_norm=True)
    wrapper = AdversarialBackground(wrapped, schedule=Schedule(2, 3))
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=1e-2)
    wrapper.attach(optimizer)
    losses = train(wrapper, optimizer, 5)
    assert losses == train(alone, torch.optim.Adam(alone.parameters(), lr=1e-2), 5)
    _assert_same(_state(wrapped), _state(alone))
    assert wrapper.companions.mask_loss is not None
    assert wrapper.phase == "adversarial"


def test_the_mask_phase_adds_nothing_to_gradients_that_are_there() -> None:
    model = tiny_classifier(batch_norm=True)
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 9))
    wrapper.companions.attached = True
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.25)
    wrapper(a_batch()[0])
    assert all((parameter.grad == 0.25).all() for parameter in model.parameters())


def test_evaluation_does_no_work_beside_the_models_own() -> None:
    model = tiny_classifier(batch_norm=True)
    wrapper = adversarial_wrapper(model)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    calls: list[str] = []
    wrapper.companions.register_forward_pre_hook(lambda *_: calls.append("companions"))
    model.register_forward_pre_hook(lambda *_: calls.append("model"))
    images, _ = a_batch()
    random_state = wrapper.companions.generator.get_state()
    wrapper.eval()
    inside, plain = wrapper(images, mask=torch.ones(8, 32, 32)), copy.deepcopy(model)(images)
    assert calls == ["model", "model"]
    assert torch.equal(inside, plain)
    assert torch.equal(wrapper.companions.generator.get_state(), random_state)


def test_images_are_composited_wherever_the_model_trains_and_nowhere_else() -> None:
    model = tiny_classifier()
    wrapper = adversarial_wrapper(model, clean_share=0.0)
    wrapper.companions.attached = True
    images, seen = a_batch()[0], []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for changed, switch in ((True, wrapper.train), (False, wrapper.eval), (True, model.train)):
        switch()
        wrapper(images)
        assert (seen[-1] is not images) == changed
    wrapper.train()
    model.eval()
    with pytest.warns(UserWarning, match=r"its model in evaluation.* call `wrapper.train\(\)` to train"):
        wrapper(images)
    with torch.no_grad():
        wrapper(images)
    assert seen[-1] is seen[-2] is images


def test_the_gradient_of_the_images_is_that_of_what_is_kept_of_them() -> None:
    wrapper = adversarial_wrapper(nn.Identity(), clean_share=0.0, halo=0.0)
    wrapper.companions.attached = True
    images, _ = a_batch()
    images.requires_grad_()
    wrapper(images).sum().backward()
    kept = (images.detach() > 0).any(dim=1, keepdim=True)
    assert torch.equal(images.grad, kept.float().expand_as(images))


def test_buffers_and_parameters_are_the_models_own_under_its_names_and_prefixes() -> None:
    model = tiny_classifier(batch_norm=True)
    wrapper = adversarial_wrapper(model)
    wrapper.companions.build(a_batch()[0])
    for members in ("named_parameters", "named_buffers"):
        ours, plain = (dict(getattr(module, members)(prefix="net")) for module in (wrapper, model))
        assert list(ours) == list(plain)
        assert all(ours[name] is plain[name] for name in plain)
    assert list(wrapper.state_dict(prefix="net.")) == list(model.state_dict(prefix="net."))
    assert wrapper.state_dict(keep_vars=True)["0.weight"] is model[0].weight


def _trainer(model: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"net": model, "head": nn.Linear(2, 2)})


@pytest.mark.parametrize("copied", [False, True], ids=["itself", "deep copy"])
def test_within_a_larger_module_a_plain_state_loads_strictly_and_back(copied: bool) -> None:
    plain = _trainer(tiny_classifier(batch_norm=True, seed=1))
    wrapped = _trainer(adversarial_wrapper(tiny_classifier(batch_norm=True, seed=2)))
    wrapped = copy.deepcopy(wrapped) if copied else wrapped
    state = plain.state_dict()
    names = list(state)
    wrapped.load_state_dict(state, strict=True)
    assert list(state) == names
    _assert_same(_state(wrapped), _state(plain))
    _trainer(tiny_classifier(batch_norm=True, seed=3)).load_state_dict(wrapped.state_dict(), strict=True)


@pytest.mark.parametrize("within", [False, True], ids=["alone", "within"])
def test_a_state_with_missing_or_unexpected_keys_is_refused(within: bool) -> None:
    wrapper = adversarial_wrapper()
    module, prefix = (_trainer(wrapper), "net.") if within else (wrapper, "")
    state = module.state_dict()
    without = {name: tensor for name, tensor in state.items() if name != f"{prefix}0.bias"}
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.bias"):
        module.load_state_dict(without)
    with pytest.raises(RuntimeError, match=r"Unexpected key.*9\.weight"):
        module.load_state_dict({**state, f"{prefix}9.weight": torch.zeros(1)})
    assert module.load_state_dict(without, strict=False).missing_keys


def test_what_is_set_through_the_wrapper_is_the_models() -> None:
    model = tiny_classifier()
    model.temperature = 1.0
    wrapper = AdversarialBackground(model)
    wrapper.temperature = 2.0
    wrapper.head = nn.Linear(4, 7)
    setattr(wrapper, "5", nn.Linear(24, 5))
    assert model.temperature == wrapper.temperature == 2.0
    assert model.head is wrapper.head
    assert {"head.weight", "5.weight"} <= dict(wrapper.named_parameters()).keys()
    assert model[5].out_features == 5
    # What both have is the wrapper's own.
    wrapper.training = False
    assert model.training
    other = tiny_classifier()
    wrapper.model = other
    assert wrapper.model is other


def test_a_pickled_wrapper_comes_back_and_is_attached_to_nothing() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    restored = pickle.loads(pickle.dumps(wrapper))
    _assert_same(_state(restored), _state(wrapper))
    _assert_same(
        dict(restored.companions.named_parameters()),
        {name: parameter.detach() for name, parameter in wrapper.companions.named_parameters()},
    )
    optimizer = torch.optim.SGD(restored.parameters(), lr=0.1)
    restored.attach(optimizer)
    train(restored, optimizer, 1)
    assert restored.companions.step_count == 3


def test_statistics_of_every_form_are_taken() -> None:
    for values in (0.5, [0.5, 0.5, 0.5], (0.5, 0.5, 0.5)):
        space = AdversarialBackground(tiny_classifier(), mean=values, std=values).companions.pixel_space
        assert set(space.mean) == set(space.std) == {0.5}


@pytest.mark.parametrize("entrance", ["wrapper", "attach"])
def test_images_of_other_statistics_are_refused_with_their_range_and_the_numbers(entrance: str) -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    statistics = {"mean": (0.5, 0.4, 0.3), "std": (0.25, 0.25, 0.25)}
    if entrance == "wrapper":
        called: nn.Module = AdversarialBackground(model, **statistics)
        called.attach(optimizer)
    else:
        called = model
        advbg.attach(model, optimizer, **statistics)
    message = "`images` range over [0, 8], which `mean` (=(0.5, 0.4, 0.3)) and `std` (=(0.25, 0.25, 0.25), from"
    with pytest.raises(ValueError, match=re.escape(message)):
        called(torch.linspace(0, 8, 2 * 3 * 64).view(2, 3, 8, 8))


def test_removing_an_attachment_in_the_mask_phase_leaves_the_model_as_it_was() -> None:
    model = tiny_classifier(batch_norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 9))
    train(model, optimizer, 2)
    before, plain = _state(model), copy.deepcopy(model)
    attachment.remove()
    hooks = ("_forward_pre_hooks", "_forward_hooks", "_backward_hooks", "_forward_pre_hooks_with_kwargs")
    assert not any(getattr(model, name) for name in hooks)
    assert not optimizer._optimizer_step_post_hooks
    _assert_same(before, _state(model))
    images, _ = a_batch()
    assert torch.equal(model(images), plain(images))
    steps = attachment.companions.step_count
    optimizer.step()
    assert attachment.companions.step_count == steps


def _on_gpu(**options: object) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    wrapper = adversarial_wrapper(**options).cuda()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    return wrapper, optimizer


def _step_on_gpu(wrapper: AdversarialBackground, optimizer: torch.optim.Optimizer, seed: int = 0) -> float:
    images, targets = (tensor.cuda() for tensor in a_batch(seed=seed))
    loss = F.cross_entropy(wrapper(images), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


@_needs_cuda
def test_companions_follow_the_model_to_the_gpu_in_the_middle_of_training_and_back() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    wrapper.cuda()
    _step_on_gpu(wrapper, optimizer)
    companions = wrapper.companions
    assert companions.generator.device.type == "cuda"
    assert all(parameter.is_cuda for parameter in companions.parameters())
    states = companions.background_optimizer.state.values()
    assert all(state["exp_avg"].is_cuda for state in states)
    wrapper.cpu()
    train(wrapper, optimizer, 1)


@_needs_cuda
def test_a_run_saved_on_the_gpu_is_loaded_there_with_its_random_state(tmp_path: Path) -> None:
    wrapper, optimizer = _on_gpu()
    for seed in range(3):
        _step_on_gpu(wrapper, optimizer, seed)
    path = tmp_path / "run.pt"
    torch.save({"model": wrapper.state_dict(), "companions": wrapper.companions.state_dict()}, path)
    expected = [_step_on_gpu(wrapper, optimizer, seed) for seed in range(3, 5)]
    state = torch.load(path, weights_only=True, map_location="cuda")
    resumed, optimizer = _on_gpu(seed=9)
    resumed.load_state_dict(state["model"])
    resumed.companions.load_state_dict(state["companions"])
    assert [_step_on_gpu(resumed, optimizer, seed) for seed in range(3, 5)] == pytest.approx(expected, rel=1e-4)


@_needs_cuda
def test_the_gpus_random_stream_is_not_touched() -> None:
    wrapper, optimizer = _on_gpu(mask_generator="unet", schedule=Schedule(1, 1))
    before = torch.cuda.get_rng_state()
    for seed in range(4):
        _step_on_gpu(wrapper, optimizer, seed)
    assert wrapper.phase == "adversarial"
    assert torch.equal(torch.cuda.get_rng_state(), before)


@_needs_cuda
def test_under_fp16_and_a_grad_scaler_on_the_gpu_the_companions_gradients_are_those_without() -> None:
    def gradients(scaled: bool) -> list[Tensor]:
        wrapper, _ = _on_gpu()
        images, targets = (tensor.cuda() for tensor in a_batch())
        with torch.autocast("cuda", dtype=torch.float16, enabled=scaled):
            loss = F.cross_entropy(wrapper(images), targets)
        scaler = torch.amp.GradScaler("cuda", enabled=scaled)
        scaler.scale(loss).backward()
        return [p.grad for p in wrapper.companions.source.parameters() if p.grad is not None]

    for half, full in zip(gradients(True), gradients(False), strict=True):
        torch.testing.assert_close(half, full, rtol=0.1, atol=0.05)

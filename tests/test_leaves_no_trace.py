"""Optimisers, clipping, EMA and checkpoints see the model and nothing else."""

import copy
import io

import pytest
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3, get_state_dict, unwrap_model
from torch import nn

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def test_the_wrappers_parameters_are_the_models_own_under_their_own_names() -> None:
    model = tiny_classifier()
    wrapper = adversarial_wrapper(model)
    wrapper.companions.build(a_batch()[0])
    ours, plain = dict(wrapper.named_parameters()), dict(model.named_parameters())
    assert list(ours) == list(plain)
    assert all(ours[name] is plain[name] for name in plain)
    assert list(wrapper.parameters()) == list(model.parameters())


def test_a_checkpoint_has_the_models_keys_and_loads_strictly_both_ways() -> None:
    model = tiny_classifier(batch_norm=True)
    wrapper = adversarial_wrapper(model)
    wrapper.companions.build(a_batch()[0])
    state = wrapper.state_dict()
    assert list(state) == list(model.state_dict())
    assert state._metadata == model.state_dict()._metadata
    other = tiny_classifier(batch_norm=True, seed=1)
    other.load_state_dict(state, strict=True)
    wrapper.load_state_dict(tiny_classifier(batch_norm=True, seed=2).state_dict(), strict=True)
    assert not torch.equal(model[0].weight, other[0].weight)


def test_a_checkpoint_of_a_larger_module_has_the_models_keys_too() -> None:
    def trainer(seed: int, wrapped: bool) -> nn.Module:
        model = tiny_classifier(seed=seed)
        return nn.ModuleDict({"net": adversarial_wrapper(model) if wrapped else model, "other": nn.Linear(2, 2)})

    wrapped, plain = trainer(0, True), trainer(1, False)
    assert list(wrapped.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(wrapped.state_dict(), strict=True)
    fresh = trainer(2, True)
    fresh.load_state_dict(plain.state_dict(), strict=True)
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name])


def test_timm_unwraps_the_wrapper_to_itself_and_saves_the_models_state() -> None:
    wrapper = adversarial_wrapper()
    assert unwrap_model(wrapper) is wrapper
    assert not hasattr(wrapper, "module")
    assert list(get_state_dict(wrapper)) == list(wrapper.model.state_dict())


def test_timm_makes_the_same_parameter_groups_as_for_the_plain_model() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=4)
    wrapper = AdversarialBackground(model)

    def groups(of: nn.Module) -> list[tuple[float, list[int]]]:
        optimizer = create_optimizer_v2(of, opt="adamw", lr=1e-3, weight_decay=0.05, layer_decay=0.7)
        return [
            (group["weight_decay"] * group["lr_scale"], [id(parameter) for parameter in group["params"]])
            for group in optimizer.param_groups
        ]

    assert groups(wrapper) == groups(model)
    assert wrapper.no_weight_decay() == model.no_weight_decay()


def test_an_unknown_attribute_is_asked_of_the_model_and_then_is_an_error() -> None:
    wrapper = AdversarialBackground(timm.create_model("resnet10t", num_classes=3))
    assert wrapper.num_classes == 3
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = wrapper.no_such_thing


@pytest.mark.parametrize("phase", ["classifier", "mask", "adversarial"])
def test_a_deep_copy_between_forward_and_backward_is_independent(phase: str) -> None:
    schedule = {"classifier": Schedule(9, 9), "mask": Schedule(0, 9), "adversarial": Schedule(0, 0)}[phase]
    generator = "nonzero" if phase == "adversarial" else "unet"
    wrapper = AdversarialBackground(tiny_classifier(), schedule=schedule, mask_generator=generator)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, targets = a_batch()
    loss = nn.functional.cross_entropy(wrapper(images), targets)
    twin = copy.deepcopy(wrapper)
    loss.backward()
    optimizer.step()
    assert wrapper.phase == phase
    assert twin.companions is not wrapper.companions
    assert twin.companions.step_count == 0
    assert wrapper.companions.step_count == 1
    pairs = zip(twin.parameters(), wrapper.parameters(), strict=True)
    assert not all(torch.equal(theirs, ours) for theirs, ours in pairs)
    torch.testing.assert_close(twin.eval()(images).shape, wrapper.eval()(images).shape)


def test_an_ema_copy_follows_the_model() -> None:
    wrapper = adversarial_wrapper(tiny_classifier(batch_norm=True))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    ema = ModelEmaV3(wrapper, decay=0.5)
    start = wrapper.model[0].weight.detach().clone()
    train(wrapper, optimizer, 1)
    ema.update(wrapper)
    expected = 0.5 * start + 0.5 * wrapper.model[0].weight.detach()
    torch.testing.assert_close(ema.module.model[0].weight, expected)
    images, _ = a_batch()
    assert torch.equal(ema.module(images), ema.module.model(images))


def test_a_saved_wrapper_is_a_plain_file_of_the_models_weights() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    file = io.BytesIO()
    torch.save(wrapper.model.state_dict(), file)
    file.seek(0)
    plain = tiny_classifier(seed=5)
    plain.load_state_dict(torch.load(file, weights_only=True), strict=True)
    images, _ = a_batch()
    assert torch.equal(plain.eval()(images), wrapper.eval()(images))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_in_evaluation_the_wrapper_is_the_model_bit_for_bit(batch_norm: bool) -> None:
    model = tiny_classifier(batch_norm=batch_norm)
    wrapper = adversarial_wrapper(model).eval()
    images, _ = a_batch()
    assert torch.equal(wrapper(images), model(images))
    assert wrapper.companions.image_shape is None


def test_the_mask_phase_moves_nothing_of_the_model() -> None:
    model = tiny_classifier(batch_norm=True)
    model[1].eval()  # a frozen normalisation stays frozen
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 100))
    wrapper.companions.attached = True
    before = copy.deepcopy(model.state_dict())
    training = [module.training for module in model.modules()]
    images, _ = a_batch()
    wrapper.companions(model, model, images)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [module.training for module in model.modules()] == training
    masks = wrapper.companions.mask_generator
    assert all(parameter.grad is not None for parameter in masks.parameters())


def test_a_model_that_raises_in_the_mask_phase_keeps_its_training_flags() -> None:
    class Failing(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002
            raise RuntimeError("out of paper")

    model = nn.Sequential(nn.Flatten(), Failing(4, 4))
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 100))
    wrapper.companions.attached = True
    with pytest.raises(RuntimeError, match="out of paper"):
        wrapper(a_batch()[0])
    assert all(module.training for module in model.modules())
    assert not wrapper.companions.learning


def test_update_bn_brings_back_the_statistics_of_clean_images() -> None:
    model = tiny_classifier(batch_norm=True)
    wrapper = adversarial_wrapper(model, clean_share=0.0)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.0)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 30)
    composites = model[1].running_var.clone()
    clean = [a_batch(seed=seed)[0] for seed in range(8)]
    torch.optim.swa_utils.update_bn(clean, wrapper.model)
    features = torch.cat([model[0](images) for images in clean])
    exact = torch.stack([model[0](images).var(dim=(0, 2, 3)) for images in clean]).mean(0)
    torch.testing.assert_close(model[1].running_var, exact, rtol=1e-3, atol=1e-6)
    assert (composites / features.var(dim=(0, 2, 3))).max() > 1.5


def test_an_exception_between_forward_and_step_leaves_a_loop_that_goes_on() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    wrapper(a_batch()[0])  # and here the user's code raised
    losses = train(wrapper, optimizer, 2)
    assert wrapper.companions.step_count == 2
    assert all(loss == loss for loss in losses)


def test_the_share_of_clean_images_is_honoured() -> None:
    wrapper = adversarial_wrapper(clean_share=0.25, halo=0.0)
    images, _ = a_batch(400)
    clean = 1 - wrapper.generate_parameters(images).composited.float().mean().item()
    assert 0.17 < clean < 0.33
    for share, expected in ((0.0, 1.0), (1.0, 0.0)):
        drawn = adversarial_wrapper(clean_share=share).generate_parameters(images)
        assert drawn.composited.float().mean().item() == expected

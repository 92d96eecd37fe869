"""Images of every shape, dtype and layout; models of every kind of output."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from advbg.compositing import composite
from advbg.pixel_space import PixelSpace
from tests.models import a_batch, adversarial_wrapper, run_without_type_checks, tiny_classifier


@settings(max_examples=15, deadline=None)
@given(
    count=st.integers(1, 9),
    channels=st.sampled_from([1, 3, 5]),
    height=st.integers(9, 140),
    width=st.integers(9, 140),
    background=st.sampled_from(["adversarial", "random", "scenes", "paper", "noise", "black"]),
)
def test_every_phase_runs_for_images_of_any_shape(
    count: int, channels: int, height: int, width: int, background: str
) -> None:
    wrapper = AdversarialBackground(tiny_classifier(channels), schedule=Schedule(1, 1), background=background)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, targets = a_batch(count, channels, (height, width))
    for phase in ("classifier", "mask", "adversarial", "adversarial"):
        assert wrapper.phase == phase
        outputs = wrapper(images)
        assert outputs.shape == (count, 4)
        nn.functional.cross_entropy(outputs, targets).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_the_last_partial_batch_and_another_image_size_follow_the_first() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    for count, size in ((8, (32, 32)), (1, (32, 32)), (3, (40, 28))):
        images, _ = a_batch(count, size=size)
        assert wrapper(images).shape == (count, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_composites_keep_dtype_and_memory_layout(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    images = torch.rand(2, 3, 8, 10).to(dtype).contiguous(memory_format=memory_format)
    mask = (torch.rand(2, 1, 8, 10) > 0.5).float()
    made = composite(images, mask, torch.rand(2, 3, 8, 10), torch.tensor([True, False]), PixelSpace())
    assert made.dtype == dtype
    assert made.shape == images.shape
    assert made.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_model_sees_the_layout_and_dtype_it_was_given(memory_format: torch.memory_format) -> None:
    seen: list[Tensor] = []
    model = tiny_classifier().to(torch.bfloat16)
    model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    wrapper = adversarial_wrapper(model)
    wrapper.companions.attached = True
    images = a_batch()[0].to(torch.bfloat16).contiguous(memory_format=memory_format)
    wrapper(images)
    assert seen[0].dtype == torch.bfloat16
    assert seen[0].is_contiguous(memory_format=memory_format)
    assert not torch.equal(seen[0], images)


def test_the_composite_compiles_without_a_graph_break() -> None:
    # Dynamo cannot trace the type checks of this suite.
    run_without_type_checks(
        """
        import torch
        from advbg.compositing import composite
        from advbg.pixel_space import PixelSpace
        images, mask = torch.rand(3, 3, 8, 8), torch.rand(3, 1, 8, 8)
        arguments = (images, mask, torch.rand(3, 3, 8, 8), torch.ones(3) > 0, PixelSpace((0.5,), (2.0,)))
        compiled = torch.compile(composite, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(*arguments), composite(*arguments))
        """
    )


def test_a_model_cast_to_half_keeps_companions_in_full_precision() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    wrapper(a_batch()[0])
    wrapper.half()
    assert wrapper.model[0].weight.dtype == torch.float16
    assert all(parameter.dtype == torch.float32 for parameter in wrapper.companions.parameters())


class _Answering(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.net = form, tiny_classifier()

    def forward(self, images: Tensor) -> Any:
        logits = self.net(images)
        forms = {
            "tuple": (logits, images.mean(dim=(1, 2, 3))),
            "list": [logits, [2 * logits]],
            "dict": {"logits": logits, "labels": logits.argmax(1)},
            "ordered": OrderedDict(loss=logits.sum(), logits=logits),
        }
        return forms[self.form]


@pytest.mark.parametrize("form", ["tuple", "list", "dict", "ordered"])
def test_masks_are_learned_from_outputs_of_any_form(form: str) -> None:
    wrapper = AdversarialBackground(_Answering(form), schedule=Schedule(0, 1))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    for phase in ("mask", "adversarial"):
        assert wrapper.phase == phase
        outputs = wrapper(a_batch()[0])
        assert type(outputs) is type(_Answering(form)(a_batch()[0]))
        optimizer.step()
    assert wrapper.companions.mask_loss is not None
    assert torch.isfinite(wrapper.companions.mask_loss)


def test_outputs_that_masks_cannot_be_learned_from_are_an_error_that_says_what_to_do() -> None:
    class Labels(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean(dim=(1, 2, 3)).long()

    wrapper = AdversarialBackground(Labels(), schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    with pytest.raises(TypeError, match=r"without a floating tensor of 8 rows.*`mask=`"):
        wrapper(a_batch()[0])


def test_extra_arguments_reach_the_model() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_classifier()

        def forward(self, images: Tensor, scale: float, *, shift: float = 0.0) -> Tensor:
            return self.net(images) * scale + shift

    model = Scaled()
    for schedule in (Schedule(1, 1), Schedule(0, 1)):
        wrapper = AdversarialBackground(model, schedule=schedule)
        wrapper.companions.attached = True
        images, _ = a_batch()
        torch.testing.assert_close(wrapper(images, 2.0, shift=1.0), model.net(images) * 2 + 1)


def test_soft_targets_of_mixup_train_like_any_other() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 1))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, _ = a_batch()
    mixed, targets = 0.5 * images + 0.5 * images.flip(0), torch.full((8, 4), 0.25)
    for _ in range(3):
        nn.functional.cross_entropy(wrapper(mixed), targets).backward()
        optimizer.step()
    assert wrapper.phase == "adversarial"


def test_flips_between_training_and_evaluation_within_an_epoch_change_nothing() -> None:
    def run(flips: bool) -> list[Tensor]:
        wrapper = adversarial_wrapper()
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        for seed in range(3):
            images, targets = a_batch(seed=seed)
            if flips:
                wrapper.eval()
                wrapper(images)
                wrapper.train()
            nn.functional.cross_entropy(wrapper(images), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        return list(wrapper.parameters())

    assert all(torch.equal(a, b) for a, b in zip(run(False), run(True), strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_companions_train_beside_the_model_in_half_precision_and_a_seed_reproduces_their_draws() -> None:
    def run() -> Tensor:
        wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(1, 1)).cuda()
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        scaler = torch.amp.GradScaler("cuda", init_scale=1024.0)
        for seed in range(5):
            images, targets = (tensor.cuda() for tensor in a_batch(seed=seed))
            with torch.autocast("cuda", dtype=torch.float16):
                loss = nn.functional.cross_entropy(wrapper(images), targets)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        assert all(parameter.is_cuda for parameter in wrapper.companions.parameters())
        assert wrapper.phase == "adversarial"
        assert all(torch.isfinite(parameter).all() for parameter in wrapper.companions.parameters())
        fresh = adversarial_wrapper(tiny_classifier().cuda())
        return fresh.generate_parameters(a_batch()[0].cuda()).backgrounds

    torch.testing.assert_close(run(), run(), rtol=0, atol=1e-5)

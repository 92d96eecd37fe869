"""What is said with the first batch of a training, or its first step, instead of late or never."""

import io

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advbg
from advbg import AdversarialBackground, Schedule
from advbg.backgrounds import GeneratorPopulation
from tests.models import a_batch, adversarial_wrapper, run_without_type_checks, tiny_classifier, train


class _Source:
    """Backgrounds of one value."""

    def __init__(self, value: float, dtype: torch.dtype = torch.float32) -> None:
        self.value, self.dtype = value, dtype

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.full((count, *shape), self.value, dtype=self.dtype)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (_Source(200, torch.uint8), r"_Source\.sample made backgrounds of torch\.uint8, expected floats in \[0, 1\]"),
        (_Source(200.0), r"_Source\.sample made backgrounds that range over \[200, 200\], expected \[0, 1\]"),
        (_Source(-0.5), r"range over \[-0\.5, -0\.5\]"),
        (_Source(float("nan")), r"range over \[nan, nan\]"),
    ],
)
def test_a_source_that_makes_no_pixels_is_refused(source: _Source, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adversarial_wrapper(background=source).companions.draw(a_batch()[0])


@pytest.mark.parametrize("value", [0.0, 1.0, 1 + 1e-6])
def test_a_source_may_make_black_and_white_and_round(value: float) -> None:
    adversarial_wrapper(background=_Source(value)).companions.draw(a_batch()[0])


@pytest.mark.parametrize(("highest", "taken"), [(1 + 1e-6, True), (1.1, False)])
def test_a_mask_generator_may_round_but_not_leave_the_unit_interval(highest: float, taken: bool) -> None:
    wrapper = adversarial_wrapper(mask_generator=lambda pixels: highest * (pixels[:, :1] > 0))
    wrapper.companions.attached = True
    if taken:
        wrapper(a_batch()[0])
    else:
        with pytest.raises(ValueError, match=r"made values over \[0, 1.1\], expected masks in \[0, 1\]"):
            wrapper(a_batch()[0])


def test_a_mask_generator_of_ones_own_is_not_asked_where_masks_are_given() -> None:
    wrapper = adversarial_wrapper(mask_generator=lambda pixels: pixels[:, :1] + 5)
    wrapper.companions.attached = True
    images = a_batch()[0]
    assert wrapper(images, mask=images.amax(dim=1) > 0).shape == (8, 4)


def test_what_a_source_makes_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr("advbg.candidates.check_range", lambda *_: looked.append(True))
    wrapper = adversarial_wrapper(background=_Source(0.5))
    for _ in range(3):
        wrapper.generate_parameters(a_batch()[0])
    assert looked == [True]


def test_an_optimizer_that_steps_before_any_image_was_seen_is_warned_of() -> None:
    wrapper = adversarial_wrapper()
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, targets = a_batch()
    nn.functional.cross_entropy(wrapper.model(images), targets).backward()
    with pytest.warns(UserWarning, match="the optimizer stepped, but no image has passed through the wrapper"):
        optimizer.step()
    train(wrapper, optimizer, 2)


def test_a_model_that_was_compiled_and_called_before_it_was_attached_is_warned_of() -> None:
    run_without_type_checks(
        """
        import pytest
        import torch
        import advbg
        from advbg import Schedule
        from tests.models import a_batch, tiny_classifier, train

        model = tiny_classifier()
        compiled = torch.compile(model, backend="eager")
        compiled(a_batch()[0])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 0), mask_generator="nonzero")
        with pytest.warns(UserWarning, match="compiled and called before it was"):
            train(compiled, optimizer, 1)
        torch._dynamo.reset()
        train(compiled, optimizer, 1)
        assert attachment.companions.image_shape == (3, 32, 32)
        """
    )


def test_masks_that_are_given_in_an_evaluation_end_no_mask_phase() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(1, 5))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    images, _ = a_batch()
    wrapper.eval()
    wrapper(images, mask=torch.ones(8, 32, 32, dtype=torch.bool), params=wrapper.generate_parameters(images))
    wrapper.train()
    assert wrapper.phase == "mask"


def test_states_of_options_that_are_numpys_numbers_load_with_weights_only() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    names = ("clean_share", "halo", "placement", "lighting", "copies", "clutter", "distractors")
    options = {name: np.float64(0.25) for name in names}
    attachment = advbg.attach(model, optimizer, schedule=Schedule(0, 1), **options)
    train(model, optimizer, 1)
    file = io.BytesIO()
    torch.save(attachment.companions.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state["_extra_state"]["options"]["clean_share"] == 0.25


@pytest.mark.parametrize("seed", [2**63, -(2**63) - 1])
def test_a_seed_that_torch_does_not_take_is_refused_at_once(seed: int) -> None:
    with pytest.raises(ValueError, match=r"`seed` \(=-?922337203685477580\d\) must be a number of 64 bits"):
        AdversarialBackground(tiny_classifier(), seed=seed)


def test_a_list_of_images_and_a_schedule_of_0_are_refused_by_name() -> None:
    run_without_type_checks(
        """
        import pytest, torch
        from advbg import AdversarialBackground
        from tests.models import a_batch, adversarial_wrapper, tiny_classifier

        wrapper = adversarial_wrapper()
        wrapper.companions.attached = True
        with pytest.raises(TypeError, match="`images` .a list. must be one tensor"):
            wrapper(list(a_batch()[0]))
        with pytest.raises(TypeError, match="`images` .a list. must be one tensor"):
            adversarial_wrapper().generate_parameters([1.0], mask=torch.ones(8, 32, 32))
        with pytest.raises(TypeError, match="`schedule` .=0. must be an `advbg.Schedule`"):
            AdversarialBackground(tiny_classifier(), schedule=0)
        """
    )


def test_an_empty_batch_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"`images` of shape \(0, 3, 32, 32\) are an empty batch"):
        adversarial_wrapper().companions.draw(torch.zeros(0, 3, 32, 32))


def test_a_source_that_learns_is_mixed_once() -> None:
    source = GeneratorPopulation(3, torch.Generator())
    with pytest.raises(ValueError, match="`background` mixes a source that learns with itself"):
        AdversarialBackground(tiny_classifier(), background=[(source, 1), ("noise", 1), (source, 2)])


def test_what_was_drawn_before_the_first_batch_spares_it_no_check() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(9, 0))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, _ = a_batch()
    wrapper.generate_parameters(images)
    with pytest.raises(ValueError, match="has learned nothing: pass `mask=` with every batch, or with none"):
        wrapper(images)

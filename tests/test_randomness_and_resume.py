"""A private random stream; a seed reproduces a run; a saved run goes on bit for bit."""

import io
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, adversarial_wrapper, run_without_type_checks, tiny_classifier, train

_SCHEDULE = Schedule(classifier=2, mask=3)


def _start(seed: int = 0, **options: object) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=_SCHEDULE, seed=seed, **options)
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=1e-2)
    wrapper.attach(optimizer)
    return wrapper, optimizer


def _weights(wrapper: AdversarialBackground) -> list[Tensor]:
    return [*wrapper.model.parameters(), *wrapper.companions.parameters()]


def _equal(first: AdversarialBackground, second: AdversarialBackground) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(second), strict=True))


def test_the_global_random_streams_are_not_touched_in_any_phase() -> None:
    # The type checks of this suite draw from Python's own stream.
    run_without_type_checks(
        """
        import random
        import numpy as np
        import torch
        from advbg import AdversarialBackground, Schedule
        from tests.models import tiny_classifier, train

        def states():
            return torch.get_rng_state().tolist(), str(np.random.get_state(legacy=False)), random.getstate()

        model, before = tiny_classifier(), states()
        wrapper = AdversarialBackground(model, schedule=Schedule(classifier=2, mask=3))
        optimizer = torch.optim.Adam(wrapper.parameters())
        wrapper.attach(optimizer)
        train(wrapper, optimizer, 8)
        assert wrapper.phase == "adversarial"
        assert states() == before
        """
    )


def test_the_same_seed_gives_the_same_run_bit_for_bit() -> None:
    (first, one), (second, two) = _start(seed=3), _start(seed=3)
    assert train(first, one, 9) == train(second, two, 9)
    assert _equal(first, second)


@pytest.mark.parametrize("background", ["adversarial", "noise"], ids=["with weights", "without"])
def test_another_seed_gives_other_backgrounds(background: str) -> None:
    images, _ = a_batch()
    wrappers = (adversarial_wrapper(seed=seed, background=background) for seed in (0, 1))
    first, second = (wrapper.generate_parameters(images) for wrapper in wrappers)
    assert not torch.equal(first.backgrounds, second.backgrounds)


@pytest.mark.parametrize("steps", [0, 1, 3, 5, 8], ids=["untouched", "classifier", "mask", "boundary", "adversarial"])
@pytest.mark.parametrize(
    "options",
    [
        *({"background": name} for name in ("adversarial", "random", "scenes", "paper", "noise")),
        {"candidates": 2, "clutter": 0.5, "background": [("adversarial", 1), ("noise", 1)]},
    ],
    ids=["adversarial", "random", "scenes", "paper", "noise", "candidates"],
)
def test_a_saved_run_goes_on_as_if_it_had_never_stopped(steps: int, options: dict[str, Any]) -> None:
    whole, optimizer = _start(**options)
    expected = train(whole, optimizer, steps + 4)

    broken, optimizer = _start(**options)
    train(broken, optimizer, steps)
    file = io.BytesIO()
    state = {"model": broken.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state | {"companions": broken.companions.state_dict()}, file)
    file.seek(0)

    resumed, optimizer = _start(seed=99, **options)
    state = torch.load(file, weights_only=True)
    resumed.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if steps == 0:
        # Nothing was built yet, so that the seed still decides.
        resumed, optimizer = _start(**options)
    resumed.companions.load_state_dict(state["companions"])
    assert train(resumed, optimizer, 4, first=steps) == expected[steps:]
    assert _equal(resumed, whole)


def test_a_state_of_something_else_is_refused() -> None:
    wrapper, _ = _start()
    with pytest.raises(RuntimeError, match=r"companions\.state_dict"):
        wrapper.companions.load_state_dict(wrapper.model.state_dict())


def test_a_state_of_other_companions_is_refused() -> None:
    wrapper, optimizer = _start(background="paper")
    train(wrapper, optimizer, 6)
    other, _ = _start()
    with pytest.raises(RuntimeError, match="`background` 'paper'"):
        other.companions.load_state_dict(wrapper.companions.state_dict())


def test_a_state_of_images_that_were_normalised_otherwise_is_refused() -> None:
    wrapper = AdversarialBackground(tiny_classifier(), mean=(0.5,), std=(0.25,))
    wrapper.companions.build((a_batch()[0] - 0.5) / 0.25)
    forgotten = AdversarialBackground(tiny_classifier())
    with pytest.raises(RuntimeError, match=r"saved with `mean` \(0.5,\) and `std` \(0.25,\), but .* have \(0.0,\)"):
        forgotten.companions.load_state_dict(wrapper.companions.state_dict())


def test_a_state_of_images_that_had_another_std_alone_is_refused() -> None:
    state = adversarial_wrapper(mean=0.5, std=0.5).companions.state_dict()
    with pytest.raises(RuntimeError, match=r"`std` \(0.5,\), but these companions have \(0.5,\) and \(0.25,\)"):
        adversarial_wrapper(mean=0.5, std=0.25).companions.load_state_dict(state)


@pytest.mark.parametrize(("longer", "phase"), [(Schedule(9, 1), "classifier"), (Schedule(3, 6), "mask")])
def test_a_schedule_that_leads_back_to_an_earlier_phase_is_warned_of_with_the_saved_one(
    longer: Schedule, phase: str
) -> None:
    wrapper, optimizer = _start()
    train(wrapper, optimizer, 6)
    resumed = AdversarialBackground(tiny_classifier(), schedule=longer)
    message = (
        f"after 6 steps in the adversarial phase of {_SCHEDULE!r}, but `schedule` (={longer!r}) leads back to the "
        f"{phase} phase: pass `schedule={_SCHEDULE!r}`"
    )
    with pytest.warns(UserWarning, match=re.escape(message)):
        resumed.companions.load_state_dict(wrapper.companions.state_dict())


def test_a_schedule_that_leads_on_to_a_later_phase_is_taken_without_a_word() -> None:
    wrapper, optimizer = _start()
    train(wrapper, optimizer, 3)
    resumed = AdversarialBackground(tiny_classifier(), schedule=Schedule(1, 1))
    resumed.companions.load_state_dict(wrapper.companions.state_dict())
    assert (wrapper.phase, resumed.phase) == ("mask", "adversarial")


def test_a_schedule_whose_mask_phase_is_skipped_for_given_masks_leads_nowhere_back() -> None:
    masks = a_batch()[0].amax(dim=1) > 0
    wrapper, optimizer = _start()
    for _ in range(3):
        wrapper(a_batch()[0], mask=masks).sum().backward()
        optimizer.step()
    resumed = AdversarialBackground(tiny_classifier(), schedule=Schedule(2, 9))
    resumed.companions.load_state_dict(wrapper.companions.state_dict())
    assert resumed.phase == "adversarial"


def test_options_that_differ_from_the_saved_ones_are_warned_of_once_with_both_values() -> None:
    wrapper, optimizer = _start(clean_share=0.5, binarization="quantile")
    train(wrapper, optimizer, 1)
    resumed, _ = _start(candidates=2, seed=5)
    with pytest.warns(UserWarning, match="saved with other options") as caught:
        resumed.companions.load_state_dict(wrapper.companions.state_dict())
    assert [str(warning.message) for warning in caught] == [
        "`state_dict` was saved with other options, and these companions go on with their own: "
        "`binarization` 'quantile', now 'otsu'; `clean_share` 0.5, now 0.25; `candidates` 1, now 2"
    ]


def test_what_a_state_lacks_is_told_where_it_is_loaded_loosely() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.build(a_batch()[0])
    state = wrapper.companions.state_dict()
    lost = next(name for name in state if name.endswith("bias"))
    del state[lost]
    assert wrapper.companions.load_state_dict(state, strict=False).missing_keys == [lost]
    with pytest.raises(RuntimeError, match=rf"Missing key.*{lost}"):
        wrapper.companions.load_state_dict(state)


def test_the_same_parameters_make_the_same_composites_in_training_and_evaluation() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, _ = a_batch()
    params = wrapper.generate_parameters(images)
    first = wrapper(images, params=params)
    for parameter in wrapper.companions.source.parameters():
        parameter.data.add_(1.0)
    assert torch.equal(wrapper(images, params=params), first)
    assert torch.equal(wrapper.eval()(images, params=params), first)
    assert not torch.equal(wrapper(images), first)


def test_part_of_the_parameters_replays_part_of_the_batch() -> None:
    wrapper = adversarial_wrapper(clean_share=0.0)
    wrapper.companions.attached = True
    images, _ = a_batch()
    params = wrapper.generate_parameters(images)
    indices = torch.tensor([5, 0, 2])
    part = wrapper(images[indices], params=params[indices])
    torch.testing.assert_close(part, wrapper(images, params=params)[indices])


def test_parameters_drawn_before_the_adversarial_phase_leave_the_images_alone() -> None:
    wrapper, optimizer = _start()
    images, _ = a_batch()
    params = wrapper.generate_parameters(images)
    assert not params.composited.any()
    assert torch.equal(wrapper(images, params=params), wrapper.model(images))
    assert not params.backgrounds.requires_grad
    optimizer.step()
    assert wrapper.companions.step_count == 1


def _drawn(wrapper: AdversarialBackground) -> Tensor:
    return wrapper.generate_parameters(a_batch()[0]).backgrounds.cpu()


def test_a_run_goes_on_on_another_kind_of_device_with_draws_that_its_state_decides() -> None:
    # A GPU's stream has a state of 16 bytes, a CPU's of thousands.
    drawn = []
    for last in (7, 7, 8):
        whole, optimizer = _start(background="noise")
        train(whole, optimizer, 6)
        state = whole.companions.state_dict()
        state["_extra_state"]["generator"] = torch.tensor([0] * 15 + [last], dtype=torch.uint8)
        resumed, _ = _start(background="noise")
        resumed.companions.load_state_dict(state)
        drawn.append(_drawn(resumed))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_run_on_a_gpu_goes_on_on_the_cpu_and_the_other_way_round() -> None:
    images, _ = a_batch()
    for there, here in (("cuda", "cpu"), ("cpu", "cuda")):
        first = adversarial_wrapper(tiny_classifier().to(there))
        first.generate_parameters(images.to(there))
        second = adversarial_wrapper(tiny_classifier().to(here))
        second.companions.load_state_dict(first.companions.state_dict())
        assert second.generate_parameters(images.to(here)).backgrounds.device.type == here


def test_a_move_to_another_device_and_back_goes_on_with_the_random_stream() -> None:
    images, _ = a_batch()
    companions = adversarial_wrapper(background="noise").companions
    drawn = [companions.draw(images).backgrounds]
    for _ in range(2):
        # Torch calls the CPU by two names, so that a move can be made of it.
        companions.device = torch.device("cpu:0")
        companions.to("cpu")
        drawn.append(companions.draw(images).backgrounds)
    unmoved = adversarial_wrapper(background="noise").companions
    assert all(torch.equal(moved, unmoved.draw(images).backgrounds) for moved in drawn)


def test_draws_are_not_replayed_with_masks_that_were_never_learned() -> None:
    images, _ = a_batch()
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 0))
    wrapper.companions.attached = True
    params = wrapper.generate_parameters(images, mask=torch.ones(8, 32, 32, dtype=torch.bool))
    for mode in (True, False):
        with pytest.raises(ValueError, match="has learned nothing: pass `mask=`"):
            wrapper.train(mode)(images, params=params)
    assert wrapper(images, mask=torch.ones(8, 32, 32, dtype=torch.bool), params=params).shape == (8, 4)

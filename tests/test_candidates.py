"""Several backgrounds for each image, of which the model gets the one before which it answers worst."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule, attach
from advbg.backgrounds import Mixture, sample_candidates
from tests.greys import SIDE, Brightness, Greys, grey_squares, greys_behind, judging_wrapper
from tests.models import a_batch

pytestmark = pytest.mark.filterwarnings("ignore:the model trains against backgrounds")


def test_each_image_gets_the_background_before_which_its_class_is_least_likely() -> None:
    # Of image 0: 0.2 and 0.9; of image 1: 0.4 and 0.6.
    wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.tensor([0, 1])) == [0.9, 0.4]
    assert greys_behind(wrapper, grey_squares(), torch.tensor([1, 0])) == [0.2, 0.6]


def test_without_targets_it_is_the_background_that_changes_the_answer_most() -> None:
    # The images as they are have a brightness of 0.125.
    wrapper = judging_wrapper(Brightness(), 0.2, 0.9, 0.9, 0.6, 0.3, 0.1, candidates=3)
    assert greys_behind(wrapper, grey_squares()) == [0.9, 0.9]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 6), number=st.integers(2, 4), classes=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_the_chosen_composites_have_the_highest_losses_of_all(count: int, number: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    greys = torch.rand(number * count, generator=generator).tolist()
    targets = torch.randint(classes, (count,), generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, classes))
    wrapper, images = judging_wrapper(model, *greys, candidates=number), grey_squares(count)
    composites = torch.where(images > 0, images, torch.tensor(greys).view(number, count, 1, 1, 1))
    losses = torch.stack([F.cross_entropy(model(shown), targets, reduction="none") for shown in composites])
    outputs = wrapper(images, targets=targets)
    torch.testing.assert_close(F.cross_entropy(outputs, targets, reduction="none"), losses.amax(dim=0))


def test_numbers_of_a_regression_weigh_alike_whatever_their_units() -> None:
    class Pose(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # pyright: ignore[reportIncompatibleMethodOverride]
            corner, behind = input[:, 0, 0, 0], input[:, 0, -1, -1]
            # Dark backgrounds change the first number by less than its spread, bright ones the second by many.
            return torch.stack([1000 * corner + 500 * behind * (behind < 0.5), corner + (behind > 0.5)], dim=1)

    images = grey_squares() * torch.tensor([0.5, 1.0])[:, None, None, None]
    greys = (0.1, 0.1, 0.9, 0.9)
    assert greys_behind(judging_wrapper(Pose(1, 1), *greys, candidates=2, task="regression"), images) == [0.9, 0.9]


def test_tasks_without_classes_get_the_background_that_leads_farthest_from_the_answer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 1))
    nn.init.constant_(model[1].weight, 1.0)
    wrapper = judging_wrapper(model, 0.2, 0.4, 0.9, 0.1, candidates=2, task="regression")
    assert greys_behind(wrapper, grey_squares(), torch.tensor([1.0, 2.0])) == [0.9, 0.4]


def test_the_model_judges_in_evaluation_mode_without_gradients_and_is_called_as_often_as_is_said() -> None:
    model = Brightness()
    wrapper = judging_wrapper(model, 0.2, 0.4, 0.9, 0.6, candidates=3)
    wrapper(grey_squares(), targets=torch.tensor([0, 1]))
    assert model.calls == 3 * [(False, False)] + [(True, True)]
    model.calls.clear()
    wrapper(grey_squares())
    assert model.calls == 4 * [(False, False)] + [(True, True)]
    assert model.norm.num_batches_tracked == 2
    assert all(module.training for module in model.modules())


def test_an_attached_model_judges_as_a_wrapped_one_does() -> None:
    model = Brightness()
    attachment = attach(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        background=Greys(0.2, 0.4, 0.9, 0.6),
        mask_generator="nonzero",
        schedule=Schedule(0, 0),
        clean_share=0.0,
        halo=0.0,
        candidates=2,
    )
    shown: list[Tensor] = []
    model.norm.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    with attachment.given(targets=torch.tensor([0, 1])):
        model.train()(grey_squares())
    assert len(model.calls) == 3
    assert shown[-1][:, 0, -1, -1].tolist() == pytest.approx([0.9, 0.4])


def test_the_reversed_gradient_reaches_what_made_the_chosen_backgrounds_alone() -> None:
    class Learning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.greys = nn.Parameter(torch.tensor([0.1, 0.4]))

        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return self.greys[:count, None, None, None].expand(count, *shape)

    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 2))
    model[1].weight.data = torch.tensor([[-1.0], [1.0]]).expand(2, SIDE**2).contiguous()
    source = Learning()
    wrapper = judging_wrapper(model, background=source, candidates=2)
    F.cross_entropy(wrapper(grey_squares(1), targets=torch.tensor([0])), torch.tensor([0])).backward()
    assert source.greys.grad is not None
    # Descent makes the chosen one still brighter.
    assert source.greys.grad[0] == 0
    assert source.greys.grad[1] < 0


def test_under_autocast_the_model_judges_and_learns() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 2))
    wrapper = judging_wrapper(model, 0.2, 0.4, 0.9, 0.6, candidates=2)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = wrapper(grey_squares(), targets=torch.tensor([0, 1]))
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_draws_that_are_replayed_have_chosen_backgrounds() -> None:
    wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    images = grey_squares()
    params = wrapper.generate_parameters(images, targets=torch.tensor([1, 1]))
    assert params.backgrounds.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.2, 0.4])
    shown: list[Tensor] = []
    wrapper.model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    wrapper(images, params=params)
    assert shown[0][:, 0, -1, -1].tolist() == pytest.approx([0.2, 0.4])
    assert len(shown) == 1
    with pytest.raises(ValueError, match=r"among `candidates` \(=2\) a model chooses: pass `judge`"):
        wrapper.companions.draw(images)


@pytest.mark.parametrize("mask_generator", ["nonzero", "studio"])
def test_what_the_model_sees_is_the_harder_of_the_composites_that_it_judged(mask_generator: str) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 94**2, 4))
    options = {"clutter": 0.3, "distractors": 1.0, "placement": 0.5, "copies": 0.4, "lighting": 0.4}
    wrapper = AdversarialBackground(
        model,
        background=[("adversarial", 1), ("noise", 1)],
        mask_generator=mask_generator,
        schedule=Schedule(0, 1),
        candidates=2,
        **options,
    ).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    wrapper.attach(optimizer)
    images, targets = a_batch(12, size=(96, 96))
    while wrapper.phase != "adversarial":
        F.cross_entropy(wrapper(images, targets=targets), targets).backward()
        optimizer.step()
    shown: list[Tensor] = []
    model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0].detach()))
    wrapper(images, targets=targets)
    first, second, seen = shown
    losses = [F.cross_entropy(model(composites), targets, reduction="none") for composites in (first, second)]
    harder = torch.where((losses[1] > losses[0])[:, None, None, None], second, first)
    assert torch.equal(seen, harder)
    # Some of either, and some images that stay clean.
    assert 0 < (losses[1] > losses[0]).sum() < (first != second).flatten(1).any(dim=1).sum() < 12


def test_candidates_leave_clutter_its_share() -> None:
    options = {"background": "black", "clutter": 0.25, "candidates": 3, "clean_share": 0.0, "halo": 0.0}
    wrapper = AdversarialBackground(Brightness(), mask_generator="nonzero", schedule=Schedule(0, 0), **options).train()
    # Brighter than black, and so the harder ones.
    targets, images = torch.zeros(8, dtype=torch.int64), grey_squares(8)
    filled = [wrapper.generate_parameters(images, targets=targets).backgrounds.amax(dim=(1, 2, 3)) for _ in range(9)]
    assert torch.cat(filled).gt(0).float().mean() == 0.25


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 12),
    number=st.integers(1, 4),
    weights=st.lists(st.floats(0.1, 10), min_size=2, max_size=3),
    nested=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_all_candidates_of_an_image_are_of_the_same_source(
    count: int, number: int, weights: list[float], nested: bool, seed: int
) -> None:
    greys = [0.1 * (place + 1) for place in range(len(weights))]
    mixture = Mixture([Greys(grey) for grey in greys], weights)
    source = Mixture([mixture, Greys(0.9)], [1.0, 1.0]) if nested else mixture
    made = sample_candidates(source, number, count, (1, 2, 3), torch.Generator().manual_seed(seed))
    assert made.shape == (number, count, 1, 2, 3)
    assert torch.equal(made, made[:1, :, :1, :1, :1].expand_as(made))


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    class Silent(nn.Linear):
        def forward(self, input: Tensor) -> str:  # noqa: A002  # pyright: ignore[reportIncompatibleMethodOverride]
            return "nothing"

    wrapper = judging_wrapper(Silent(1, 1), 0.2, candidates=2, schedule=Schedule(1000, 0))
    # With the first batch, not after a thousand.
    with pytest.raises(TypeError, match=r"`candidates` cannot be compared: .* returned str without"):
        wrapper(grey_squares())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, r"`candidates` \(=0\) must be 1 or more"),
        ({"candidates": 2, "task": "detection"}, r"`candidates` \(=2\) compares outputs"),
    ],
)
def test_numbers_of_candidates_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdversarialBackground(nn.Identity(), **options)

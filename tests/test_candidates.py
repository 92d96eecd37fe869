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
from tests.models import a_batch
from tests.plugins import plugged, plugin_of

pytestmark = pytest.mark.filterwarnings("ignore:the model trains against backgrounds")

_SIZE = 8


class _Greys:
    """Backgrounds of one grey each: the next of a list."""

    def __init__(self, *greys: float) -> None:
        self.greys = greys
        self.made = 0

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        first, self.made = self.made, self.made + count
        greys = [self.greys[place % len(self.greys)] for place in range(first, first + count)]
        return torch.tensor(greys)[:, None, None, None].expand(count, *shape).clone()


class _Brightness(nn.Module):
    """Says class 1 of bright images and class 0 of dark ones."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.calls: list[tuple[bool, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append((self.training, torch.is_grad_enabled()))
        brightness = self.norm(images).mean(dim=(1, 2, 3)) - 0.5
        return self.gain * torch.stack([-brightness, brightness], dim=1)


def _wrapper(model: nn.Module, *greys: float, **options: Any) -> AdversarialBackground:
    said = {"background": _Greys(*greys), "clean_share": 0.0, "halo": 0.0, "schedule": Schedule(0, 0)} | options
    return AdversarialBackground(model, mask_generator="nonzero", **said).train()


def _images(count: int = 2) -> Tensor:
    """A grey object in a corner of black images."""
    images = torch.zeros(count, 1, _SIZE, _SIZE)
    images[..., :4, :4] = 0.5
    return images


def _greys_behind(wrapper: AdversarialBackground, images: Tensor, targets: Any = None) -> list[float]:
    """What stood behind the objects of a batch, by the composites that the model was called on last."""
    shown: list[Tensor] = []
    hook = wrapper.model.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    wrapper(images, targets=targets)
    hook.remove()
    return [round(grey, 4) for grey in shown[-1][:, 0, -1, -1].tolist()]


def test_each_image_gets_the_background_before_which_its_class_is_least_likely() -> None:
    # Of image 0: 0.2 and 0.9; of image 1: 0.4 and 0.6.
    wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.tensor([0, 1])) == [0.9, 0.4]
    assert _greys_behind(wrapper, _images(), torch.tensor([1, 0])) == [0.2, 0.6]


def test_without_targets_it_is_the_background_that_changes_the_answer_most() -> None:
    # The images as they are have a brightness of 0.125.
    wrapper = _wrapper(_Brightness(), 0.2, 0.9, 0.9, 0.6, 0.3, 0.1, candidates=3)
    assert _greys_behind(wrapper, _images()) == [0.9, 0.9]


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 6), number=st.integers(2, 4), classes=st.integers(2, 5), seed=st.integers(0, 2**31))
def test_the_chosen_composites_have_the_highest_losses_of_all(count: int, number: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    greys = torch.rand(number * count, generator=generator).tolist()
    targets = torch.randint(classes, (count,), generator=generator)
    model = nn.Sequential(nn.Flatten(), nn.Linear(_SIZE**2, classes))
    wrapper, images = _wrapper(model, *greys, candidates=number), _images(count)
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

    images = _images() * torch.tensor([0.5, 1.0])[:, None, None, None]
    greys = (0.1, 0.1, 0.9, 0.9)
    assert _greys_behind(_wrapper(Pose(1, 1), *greys, candidates=2, task="regression"), images) == [0.9, 0.9]


def test_tasks_without_classes_get_the_background_that_leads_farthest_from_the_answer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_SIZE**2, 1))
    nn.init.constant_(model[1].weight, 1.0)
    wrapper = _wrapper(model, 0.2, 0.4, 0.9, 0.1, candidates=2, task="regression")
    assert _greys_behind(wrapper, _images(), torch.tensor([1.0, 2.0])) == [0.9, 0.4]


def test_the_model_judges_in_evaluation_mode_without_gradients_and_is_called_as_often_as_is_said() -> None:
    model = _Brightness()
    wrapper = _wrapper(model, 0.2, 0.4, 0.9, 0.6, candidates=3)
    wrapper(_images(), targets=torch.tensor([0, 1]))
    assert model.calls == 3 * [(False, False)] + [(True, True)]
    model.calls.clear()
    wrapper(_images())
    assert model.calls == 4 * [(False, False)] + [(True, True)]
    assert model.norm.num_batches_tracked == 2
    assert all(module.training for module in model.modules())


def test_an_attached_model_judges_as_a_wrapped_one_does() -> None:
    model = _Brightness()
    attachment = attach(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        background=_Greys(0.2, 0.4, 0.9, 0.6),
        mask_generator="nonzero",
        schedule=Schedule(0, 0),
        clean_share=0.0,
        halo=0.0,
        candidates=2,
    )
    shown: list[Tensor] = []
    model.norm.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
    with attachment.given(targets=torch.tensor([0, 1])):
        model.train()(_images())
    assert len(model.calls) == 3
    assert shown[-1][:, 0, -1, -1].tolist() == pytest.approx([0.9, 0.4])


def test_the_reversed_gradient_reaches_what_made_the_chosen_backgrounds_alone() -> None:
    class Learning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.greys = nn.Parameter(torch.tensor([0.1, 0.4]))

        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return self.greys[:count, None, None, None].expand(count, *shape)

    model = nn.Sequential(nn.Flatten(), nn.Linear(_SIZE**2, 2))
    model[1].weight.data = torch.tensor([[-1.0], [1.0]]).expand(2, _SIZE**2).contiguous()
    source = Learning()
    wrapper = _wrapper(model, background=source, candidates=2)
    F.cross_entropy(wrapper(_images(1), targets=torch.tensor([0])), torch.tensor([0])).backward()
    assert source.greys.grad is not None
    # Descent makes the chosen one still brighter.
    assert source.greys.grad[0] == 0
    assert source.greys.grad[1] < 0


def test_under_autocast_the_model_judges_and_learns() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(_SIZE**2, 2))
    wrapper = _wrapper(model, 0.2, 0.4, 0.9, 0.6, candidates=2)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = wrapper(_images(), targets=torch.tensor([0, 1]))
    assert outputs.dtype == torch.bfloat16
    outputs.float().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_draws_that_are_replayed_have_chosen_backgrounds() -> None:
    wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    images = _images()
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
    wrapper = AdversarialBackground(_Brightness(), mask_generator="nonzero", schedule=Schedule(0, 0), **options).train()
    # Brighter than black, and so the harder ones.
    targets, images = torch.zeros(8, dtype=torch.int64), _images(8)
    filled = [wrapper.generate_parameters(images, targets=targets).backgrounds.amax(dim=(1, 2, 3)) for _ in range(9)]
    assert torch.cat(filled).gt(0).float().mean() == 0.25


@pytest.mark.parametrize("targets", [[1, 255], [-100, 1], [-1, 0]])
def test_a_class_that_is_none_says_nothing_and_stops_nothing(targets: list[int]) -> None:
    wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    shown = _greys_behind(wrapper, _images(), torch.tensor(targets))
    known = {1: (0.2, 0.4), 0: (0.9, 0.6)}
    first_of_none = (0.2, 0.4)
    assert shown == [known.get(target, first_of_none)[place] for place, target in enumerate(targets)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_classes_may_be_of_any_whole_type(dtype: torch.dtype) -> None:
    wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.tensor([0, 1]).to(dtype)) == [0.9, 0.4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shares_of_classes_choose_by_the_loss_with_them(dtype: torch.dtype) -> None:
    wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=dtype)) == [0.9, 0.4]


class _Fixed(nn.Module):
    """Answers by what stands behind: outputs for images as they are, for dark backgrounds and for bright ones."""

    def __init__(self, clean: list[float], dark: list[float], bright: list[float]) -> None:
        super().__init__()
        self.answers = torch.tensor([clean, dark, bright])
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        behind = images[:, 0, -1, -1]
        return self.answers[(behind > 0).long() + (behind > 0.5).long()] + self.weight


def test_both_labels_of_a_multi_label_model_count() -> None:
    # Dark backgrounds lose both labels, which softmax does not see; bright ones hardly one.
    wrapper = _wrapper(_Fixed([4, 4], [-4, -4], [4, 3.5]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.ones(2, 2)) == [0.1, 0.1]


def test_a_single_logit_is_judged_by_its_label() -> None:
    wrapper = _wrapper(_Fixed([4], [3], [-5]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.tensor([[0.0], [1.0]])) == [0.1, 0.9]


def test_a_candidate_that_overflows_is_not_chosen() -> None:
    wrapper = _wrapper(_Fixed([4, 0], [3, 0], [float("inf"), 0]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert _greys_behind(wrapper, _images(), torch.tensor([0, 0])) == [0.1, 0.1]


def test_numbers_beside_the_logits_count() -> None:
    class TwoHeads(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            behind = images[:, 0, -1, -1]
            logits = torch.stack([behind, -behind], dim=1) * 0.01
            return logits, 100.0 * ((behind > 0) & (behind < 0.5))

    wrapper = _wrapper(TwoHeads(), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert _greys_behind(wrapper, _images()) == pytest.approx([0.1, 0.1])


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
    mixture = Mixture([_Greys(grey) for grey in greys], weights)
    source = Mixture([mixture, _Greys(0.9)], [1.0, 1.0]) if nested else mixture
    made = sample_candidates(source, number, count, (1, 2, 3), torch.Generator().manual_seed(seed))
    assert made.shape == (number, count, 1, 2, 3)
    assert torch.equal(made, made[:1, :, :1, :1, :1].expand_as(made))


def test_hook_hardness_chooses_for_a_task_of_its_own() -> None:
    def harm(task: str, outputs: Tensor) -> Tensor | None:
        return outputs[:, 0] if task == "darkness" else None

    with plugged(plugin_of(advbg_tasks=lambda: ("darkness",), advbg_hardness=harm)):
        wrapper = _wrapper(_Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2, task="darkness")
        assert _greys_behind(wrapper, _images()) == [0.2, 0.4]


def test_a_plugin_that_does_not_rate_each_image_is_named() -> None:
    wrapper = _wrapper(_Brightness(), 0.2, candidates=2)
    with (
        plugged(plugin_of(advbg_hardness=lambda outputs: outputs.mean())),
        pytest.raises(ValueError, match=r"`advbg_hardness` of task 'classification' returned shape \(\), expected"),
    ):
        wrapper(_images())


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    class Silent(nn.Linear):
        def forward(self, input: Tensor) -> str:  # noqa: A002  # pyright: ignore[reportIncompatibleMethodOverride]
            return "nothing"

    wrapper = _wrapper(Silent(1, 1), 0.2, candidates=2, schedule=Schedule(1000, 0))
    # With the first batch, not after a thousand.
    with pytest.raises(TypeError, match=r"`candidates` cannot be compared: .* returned str without"):
        wrapper(_images())


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

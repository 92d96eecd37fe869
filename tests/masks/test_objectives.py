"""What the mask objectives reward, and masks that are learned by them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, PaperObjective, Schedule, SufficiencyNecessity
from advbg.masks import MaskObjective
from advbg.masks.objectives import mean_total_variation, output_tensors, relative_distance
from advbg.options import Options


def _scene(count: int = 6, studio: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Discs and squares, their true masks and classes, before a grey of one's choice."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(2, (count,), generator=generator)
    centers = 8 + 8 * torch.rand(count, 2, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    down, right = (rows - centers[:, 0]).abs(), (columns - centers[:, 1]).abs()
    disc, square = down**2 + right**2 <= 25, (down <= 4.5) & (right <= 4.5)
    mask = torch.where(targets[:, None, None] == 0, disc, square)[:, None]
    return torch.where(mask, 1 - studio, studio).float(), mask.float(), targets


def _brightness(images: Tensor) -> Tensor:
    return images.flatten(1)


@pytest.mark.parametrize("studio", [0.0, 0.3, 1.0])
def test_the_true_mask_is_better_than_a_part_the_whole_or_nothing(studio: float) -> None:
    images, mask, _ = _scene(studio=studio)
    half = mask.clone()
    half[..., :12] = 0
    objective = SufficiencyNecessity()
    true = objective(_brightness, images, mask)
    for worse in (half, torch.ones_like(mask), torch.zeros_like(mask), mask.roll(3, dims=3)):
        assert objective(_brightness, images, worse) > true


def test_sufficiency_and_necessity_are_one_each_for_an_empty_mask() -> None:
    images, mask, _ = _scene()
    assert SufficiencyNecessity()(_brightness, images, torch.zeros_like(mask)).item() == pytest.approx(2.0)
    assert SufficiencyNecessity()(_brightness, images, torch.ones_like(mask)).item() == pytest.approx(1.0)


def test_the_default_objective_is_its_formula() -> None:
    images, mask, _ = _scene(studio=0.3)
    soft = 0.2 + 0.6 * mask
    x, m, studio = images.double().numpy(), soft.double().numpy(), 0.3

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return np.sqrt(((first - second) ** 2).sum(axis=(1, 2, 3))).mean()

    unit = distance(x, np.full_like(x, studio))
    sufficiency = distance(x * m + studio * (1 - m), x) / unit
    necessity = distance(x * (1 - m) + studio * m, np.full_like(x, studio)) / unit
    variation = np.abs(np.diff(m, axis=2)).mean() + np.abs(np.diff(m, axis=3)).mean()
    ours = SufficiencyNecessity(area=0.7, smoothness=0.4)(_brightness, images, soft)
    assert ours.item() == pytest.approx(sufficiency + necessity + 0.7 * m.mean() + 0.4 * variation, rel=1e-5)


def test_the_unit_of_the_outputs_does_not_matter() -> None:
    images, mask, _ = _scene()
    soft = 0.3 + 0.5 * mask
    plain = SufficiencyNecessity()(_brightness, images, soft)
    scaled = SufficiencyNecessity()(lambda x: 1000 * _brightness(x) + 7, images, soft)
    torch.testing.assert_close(scaled, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", ["classification", "regression", "segmentation", "reinforcement"])
@pytest.mark.parametrize("answer", [0.0, 1.0])
def test_a_model_that_answers_everything_alike_gives_no_nan(answer: float, task: str) -> None:
    images, mask, _ = _scene()
    loss = Options(task=task).mask_objective(lambda x: torch.full((len(x), 3), answer), images, mask, None)
    assert torch.isfinite(loss)


def test_the_papers_objective_is_its_formula() -> None:
    images, mask, targets = _scene()
    soft = (0.1 + 0.6 * mask).requires_grad_()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(576, 2))
    ours = PaperObjective()(model, images, soft, targets)
    weight, bias = (parameter.detach().double().numpy() for parameter in model.parameters())
    m = soft.detach().double().numpy()
    logits = (images.double().numpy() * m).reshape(len(m), -1) @ weight.T + bias
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    loss = -log_probabilities[np.arange(len(m)), targets.numpy()].mean()
    hinge = np.maximum(m.mean((1, 2, 3)) - 0.2, 0).mean()
    variation = np.abs(np.diff(m, axis=2)).mean() + np.abs(np.diff(m, axis=3)).mean()
    assert ours.item() == pytest.approx(loss + hinge + 0.1 * variation, rel=1e-5)


def test_without_targets_the_papers_objective_compares_with_the_whole_image() -> None:
    images, mask, _ = _scene()
    full = PaperObjective(area=0.9, smoothness=0.0)(_brightness, images, torch.ones_like(mask) * 0.5)
    assert full.item() == pytest.approx(0.5, rel=1e-5)


def test_total_variation_is_the_mean_step_between_neighbours() -> None:
    mask = torch.rand(3, 1, 5, 7)
    exact = np.abs(np.diff(mask.numpy(), axis=2)).mean() + np.abs(np.diff(mask.numpy(), axis=3)).mean()
    assert mean_total_variation(mask).item() == pytest.approx(exact, rel=1e-5)


def test_relative_distance_is_one_for_the_other_and_zero_for_the_expected() -> None:
    expected, other = [torch.randn(4, 3), torch.randn(4, 2)], [torch.randn(4, 3), torch.randn(4, 2)]
    assert relative_distance(expected, expected, other) == 0
    assert relative_distance(other, expected, other).item() == pytest.approx(1.0)


def test_only_floating_tensors_with_a_row_for_each_image_are_compared() -> None:
    outputs = {
        "logits": torch.rand(4, 2, 2),
        "labels": torch.ones(4).long(),
        "loss": torch.tensor(1.0),
        "anchors": torch.rand(7, 4),
        "name": "x",
    }
    assert [tuple(tensor.shape) for tensor in output_tensors(outputs, 4)] == [(4, 4)]
    assert [tuple(tensor.shape) for tensor in output_tensors([torch.rand(4), (torch.rand(4, 3),)], 4)] == [
        (4, 1),
        (4, 3),
    ]


@pytest.mark.parametrize("objective", [SufficiencyNecessity(), PaperObjective()])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_is_shown_images_of_its_dtype(objective: MaskObjective, dtype: torch.dtype) -> None:
    seen = []

    def model(images: Tensor) -> Tensor:
        seen.append(images.dtype)
        return images.mean(dim=(2, 3))

    objective(model, torch.rand(2, 3, 8, 8).to(dtype), torch.rand(2, 1, 8, 8), None)
    assert set(seen) == {dtype}


@settings(max_examples=20, deadline=None)
@given(value=st.floats(0, 1, width=32), free=st.floats(0.05, 0.95))
def test_the_papers_hinge_costs_what_the_area_is_over_its_share(value: float, free: float) -> None:
    objective = PaperObjective(area=free, criterion=lambda outputs, targets: 0 * outputs.sum())
    images = torch.rand(3, 1, 8, 8)
    cost = objective(_brightness, images, torch.full((3, 1, 8, 8), value), torch.zeros(3))
    assert cost.item() == pytest.approx(max(0.0, value - free), abs=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SufficiencyNecessity(area=-1.0), r"`area` \(=-1.0\) must be a weight of 0 or more"),
        (lambda: SufficiencyNecessity(smoothness=math.nan), r"`smoothness` \(=nan\) must be a weight"),
        (lambda: SufficiencyNecessity(area=math.inf), r"`area` \(=inf\) must be a weight of 0 or more"),
        (lambda: PaperObjective(area=0.0), r"`area` \(=0.0\) must be a share in \(0, 1\)"),
        (lambda: PaperObjective(area=1.0), r"`area` \(=1.0\) must be a share in \(0, 1\)"),
        (lambda: PaperObjective(area=20.0), r"`area` \(=20.0\) must be a share in \(0, 1\)"),
        (lambda: PaperObjective(smoothness=-0.1), r"`smoothness` \(=-0.1\) must be a weight"),
    ],
)
def test_a_weight_or_share_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def _learned_masks(objective: object, studio: float, count: int = 32, steps: int = 300) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2), nn.ReLU(), nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24 * 64, 2)
    )
    wrapper = AdversarialBackground(model, schedule=Schedule(150, steps), mask_objective=objective)
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=1e-3)
    wrapper.attach(optimizer)
    for step in range(150 + steps):
        images, _, targets = _scene(count, studio, seed=step)
        F.cross_entropy(wrapper(images, targets=targets), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    images, mask, _ = _scene(64, studio, seed=10_000)
    return wrapper.companions.foreground(images), mask


@pytest.mark.parametrize("studio", [0.0, 0.3])
def test_the_default_objective_finds_the_object_whatever_the_studio(studio: float) -> None:
    found, mask = _learned_masks(SufficiencyNecessity(), studio)
    union = torch.maximum(found, mask).sum(dim=(1, 2, 3))
    overlap = (found * mask).sum(dim=(1, 2, 3))
    assert (overlap / union).mean() > 0.7


def test_the_masks_of_the_papers_objective_grow_as_its_hinge_lets_them() -> None:
    tight, wide = (
        _learned_masks(PaperObjective(area=area), studio=0.0, count=16, steps=150)[0].mean() for area in (0.1, 0.5)
    )
    assert tight < 0.2 < wide - 0.1

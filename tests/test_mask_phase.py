"""Whether masks are learned, by whom they cannot be, and what they keep."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advbg import AdversarialBackground, PaperObjective, Schedule
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


class _Probe(nn.Module):
    """A head on features that are cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU()), nn.Linear(32, 4)

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(F.adaptive_avg_pool2d(features, 2).flatten(1))


def test_a_model_that_passes_no_gradient_to_its_input_cannot_learn_masks() -> None:
    wrapper = AdversarialBackground(_Probe(), schedule=Schedule(0, 2))
    optimizer = torch.optim.SGD(wrapper.model.head.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    with pytest.raises(ValueError, match=r"_Probe passes no gradient to its input.*requires_grad_\(False\)"):
        wrapper(a_batch()[0])


def test_frozen_layers_learn_masks() -> None:
    model = tiny_classifier()
    model[0].requires_grad_(False)
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 2))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    assert wrapper.phase == "adversarial"


class _Level(nn.Module):
    """Masks of one value, which nothing keeps in [0, 1]."""

    learning_rate = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(0.5))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.level.expand(len(pixels), 1, *pixels.shape[-2:])


def test_a_mask_generator_that_learns_to_leave_the_unit_interval_is_refused_before_its_soft_masks_are_used() -> None:
    wrapper = AdversarialBackground(
        tiny_classifier(), schedule=Schedule(0, 1), mask_generator=_Level(), binarization="none"
    )
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 1)
    with pytest.raises(ValueError, match=r"_Level made values over .*, expected masks in \[0, 1\]"):
        wrapper(a_batch()[0])


def test_empty_masks_are_warned_of_once() -> None:
    wrapper = adversarial_wrapper(mask_generator=lambda pixels: torch.zeros_like(pixels[:, :1]))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    with pytest.warns(UserWarning, match="the masks of all 8 images are empty") as caught:
        train(wrapper, optimizer, 2)
    assert len(caught) == 1


def _phases(masked: list[bool]) -> list[str]:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(1, 2))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    phases = []
    for step, given_mask in enumerate(masked):
        phases.append(wrapper.phase)
        images, targets = a_batch(seed=step)
        mask = images.amax(dim=1) > 0 if given_mask else None
        F.cross_entropy(wrapper(images, mask=mask), targets).backward()
        optimizer.step()
    return phases


def test_the_first_batch_decides_whether_masks_are_learned() -> None:
    assert _phases([True] * 3) == ["classifier", "adversarial", "adversarial"]
    learned = ["classifier", "mask", "mask", "adversarial", "adversarial"]
    assert _phases([False, True, False, True, False]) == learned


def test_a_batch_without_a_mask_after_one_with_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"pass `mask=` with every batch, or with none \(the first decides\)"):
        _phases([True, False])


@pytest.mark.parametrize(("objective", "area"), [(None, 0.2), (PaperObjective(area=0.4), 0.4)])
def test_the_quantile_keeps_the_area_that_the_papers_hinge_leaves_free(
    objective: PaperObjective | None, area: float
) -> None:
    wrapper = adversarial_wrapper(
        mask_generator=lambda pixels: pixels[:, :1], mask_objective=objective, binarization="quantile"
    )
    images = torch.rand(4, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    kept = wrapper.companions.foreground(images).mean(dim=(1, 2, 3))
    torch.testing.assert_close(kept, torch.full((4,), area), atol=2e-3, rtol=0)

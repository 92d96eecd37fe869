"""How badly a model answers, by which one of several backgrounds is chosen: by targets, outputs and plugins."""

import pytest
import torch
from torch import Tensor, nn

from tests.greys import Brightness, grey_squares, greys_behind, judging_wrapper
from tests.plugins import plugged, plugin_of

pytestmark = pytest.mark.filterwarnings("ignore:the model trains against backgrounds")


@pytest.mark.parametrize("targets", [[1, 255], [-100, 1], [-1, 0]])
def test_a_class_that_is_none_says_nothing_and_stops_nothing(targets: list[int]) -> None:
    wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    shown = greys_behind(wrapper, grey_squares(), torch.tensor(targets))
    known = {1: (0.2, 0.4), 0: (0.9, 0.6)}
    first_of_none = (0.2, 0.4)
    assert shown == [known.get(target, first_of_none)[place] for place, target in enumerate(targets)]


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.bool])
def test_classes_may_be_of_any_whole_type(dtype: torch.dtype) -> None:
    wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.tensor([0, 1]).to(dtype)) == [0.9, 0.4]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_shares_of_classes_choose_by_the_loss_with_them(dtype: torch.dtype) -> None:
    wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=dtype)) == [0.9, 0.4]


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
    wrapper = judging_wrapper(_Fixed([4, 4], [-4, -4], [4, 3.5]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.ones(2, 2)) == [0.1, 0.1]


def test_a_single_logit_is_judged_by_its_label() -> None:
    wrapper = judging_wrapper(_Fixed([4], [3], [-5]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.tensor([[0.0], [1.0]])) == [0.1, 0.9]


def test_a_candidate_that_overflows_is_not_chosen() -> None:
    wrapper = judging_wrapper(_Fixed([4, 0], [3, 0], [float("inf"), 0]), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert greys_behind(wrapper, grey_squares(), torch.tensor([0, 0])) == [0.1, 0.1]


def test_numbers_beside_the_logits_count() -> None:
    class TwoHeads(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            behind = images[:, 0, -1, -1]
            logits = torch.stack([behind, -behind], dim=1) * 0.01
            return logits, 100.0 * ((behind > 0) & (behind < 0.5))

    wrapper = judging_wrapper(TwoHeads(), 0.1, 0.1, 0.9, 0.9, candidates=2)
    assert greys_behind(wrapper, grey_squares()) == pytest.approx([0.1, 0.1])


def test_hook_hardness_chooses_for_a_task_of_its_own() -> None:
    def harm(task: str, outputs: Tensor) -> Tensor | None:
        return outputs[:, 0] if task == "darkness" else None

    with plugged(plugin_of(advbg_tasks=lambda: ("darkness",), advbg_hardness=harm)):
        wrapper = judging_wrapper(Brightness(), 0.2, 0.4, 0.9, 0.6, candidates=2, task="darkness")
        assert greys_behind(wrapper, grey_squares()) == [0.2, 0.4]


def test_a_plugin_that_does_not_rate_each_image_is_named() -> None:
    wrapper = judging_wrapper(Brightness(), 0.2, candidates=2)
    with (
        plugged(plugin_of(advbg_hardness=lambda outputs: outputs.mean())),
        pytest.raises(ValueError, match=r"`advbg_hardness` of task 'classification' returned shape \(\), expected"),
    ):
        wrapper(grey_squares())

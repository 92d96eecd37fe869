"""By which targets a classifier's answers are rated, where it chooses among backgrounds."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from advbg.tasks.classification import Classification

_LOGITS = torch.tensor([3.0, -3.0, 3.0, -2.0])
_LABELS = torch.tensor([0.0, 0.0, 1.0, 1.0])


def _hardness(logits: Tensor, targets: Any) -> Tensor:
    def not_asked() -> Any:
        raise AssertionError("targets say it")

    return Classification().advbg_hardness("classification", logits, not_asked, targets, len(logits))


def _column(values: Tensor) -> Tensor:
    return values[:, None]


def _flat(values: Tensor) -> Tensor:
    return values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
@pytest.mark.parametrize("of_targets", [_flat, _column])
@pytest.mark.parametrize("of_logits", [_flat, _column])
def test_one_logit_is_rated_by_one_label_for_each_image(
    of_logits: Callable[[Tensor], Tensor], of_targets: Callable[[Tensor], Tensor], dtype: torch.dtype
) -> None:
    expected = F.binary_cross_entropy_with_logits(_LOGITS.double(), _LABELS.double(), reduction="none")
    found = _hardness(of_logits(_LOGITS), of_targets(_LABELS).to(dtype))
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)


def test_labels_that_are_none_say_nothing() -> None:
    labels = torch.tensor([[1.0, -1.0], [255.0, 0.0], [-1.0, -1.0]])
    logits = torch.tensor([[2.0, 5.0], [7.0, 1.0], [3.0, 4.0]])
    known = F.binary_cross_entropy_with_logits(torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.0]), reduction="none")
    torch.testing.assert_close(_hardness(logits, labels), torch.cat([known / 2, torch.zeros(1)]))


def test_class_indices_in_a_column_and_whole_shares_are_rated_as_class_indices_are() -> None:
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([0, 2, 1, 1, 0])
    expected = F.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(_hardness(logits, classes[:, None]), expected)
    torch.testing.assert_close(_hardness(logits, F.one_hot(classes, 3)), expected)


def test_targets_that_do_not_fit_the_logits_are_warned_of() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match=r"`targets` of shape \(4,\) and torch\.float32 do not fit logits of shape"):
        Classification().advbg_hardness("classification", logits, lambda: logits, torch.rand(4), 4)

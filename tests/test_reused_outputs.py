"""Models whose next call overwrites what the last one returned, as CUDA graphs of `torch.compile` do."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, tiny_classifier, train


class _Reusing(nn.Module):
    """Without gradients, every answer is in the same memory."""

    def __init__(self, *, reuses: bool) -> None:
        super().__init__()
        self.model = tiny_classifier()
        self.reuses = reuses
        self.answers = torch.empty(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        if torch.is_grad_enabled() or not self.reuses:
            return logits
        return self.answers.copy_(logits)


@pytest.mark.parametrize(
    "options",
    [{"schedule": Schedule(0, 9)}, {"schedule": Schedule(0, 0), "mask_generator": "nonzero", "candidates": 3}],
    ids=["masks", "candidates"],
)
def test_masks_and_choices_are_the_same_where_outputs_are_overwritten(options: dict[str, Any]) -> None:
    learned = []
    for reuses in (False, True):
        wrapper = AdversarialBackground(_Reusing(reuses=reuses), **options)
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        losses = train(wrapper, optimizer, 3)
        masks = wrapper.companions.soft_mask(a_batch()[0])
        learned.append((losses, masks))
    assert learned[0][0] == learned[1][0]
    assert torch.equal(learned[0][1], learned[1][1])

"""The yardstick of these tests: plain training on the very images that the model saw."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, tiny_classifier

Batches = Sequence[tuple[Tensor, Tensor]]
# A loop makes its optimiser, calls `attach` with it, and trains the model on the batches.
Loop = Callable[[nn.Module, Batches, Callable[[torch.optim.Optimizer], Any]], None]

# One step of the classifier, two of the masks; the rest before adversarial backgrounds.
SCHEDULE = Schedule(classifier=1, mask=2)


def some_batches(count: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Fresh batches of eight images."""
    return [a_batch(seed=seed) for seed in range(count)]


def assert_trains_as_plainly_on_what_it_saw(
    loop: Loop, model: Callable[[], nn.Module] = tiny_classifier, batches: Batches | None = None
) -> AdversarialBackground:
    """Run a loop with the wrapper, then without on the images that it passed on: the same weights, bit for bit."""
    batches = some_batches() if batches is None else batches
    wrapper = AdversarialBackground(model(), schedule=SCHEDULE)
    seen: list[Tensor] = []
    wrapper.companions.register_forward_hook(lambda _, __, images: seen.append(images.detach().clone()))
    loop(wrapper, batches, wrapper.attach)
    assert wrapper.phase == "adversarial"
    assert not torch.equal(seen[-1], batches[-1][0])

    plain = model()
    replayed = [(images, targets) for images, (_, targets) in zip(seen, batches, strict=True)]
    loop(plain, replayed, lambda _: None)
    start, ours, theirs = model().state_dict(), wrapper.state_dict(), plain.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not all(torch.equal(ours[name], start[name]) for name in start)
    return wrapper

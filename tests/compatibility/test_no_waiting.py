"""No step waits for a GPU, which would idle while the next operations are launched."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from advbg import AdversarialBackground, Phase, Schedule
from advbg.backgrounds import mixture
from advbg.random_numbers import draw_number
from tests.models import a_batch, adversarial_wrapper, tiny_classifier

# On a GPU, these copy something to the host or from it and wait; `lift_fresh` is a tensor made of Python's numbers.
# `cpu()` and `tolist()` of what lies on the CPU cannot be seen here; the test on a GPU is for them.
_WAITING = {
    "_local_scalar_dense",
    "lift_fresh",
    "nonzero",
    "masked_select",
    "multinomial",
    "bincount",
    "_unique2",
    "equal",
    "isin",
    "repeat_interleave",
}

_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "places, copies, light, clutter, distractors": {
        "mask_generator": "studio",
        "clutter": 0.3,
        "distractors": 1.0,
        "placement": 0.5,
        "copies": 0.4,
        "lighting": 0.4,
    },
    "quantile": {"binarization": "quantile"},
    "candidates": {"candidates": 2},
    "paper": {"background": "paper", "mask_generator": "paper"},
    "mixture": {"background": [("adversarial", 1.0), ("noise", 1.0), ("black", 1.0)]},
}
_every_option = pytest.mark.parametrize("options", _OPTIONS.values(), ids=_OPTIONS)


class _WaitError(RuntimeError):
    pass


class _RaisesWhereAGpuWaits(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        indexing = (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_)
        indices = args[1] if func.overloadpacket in indexing else []
        if func.overloadpacket.__name__ in _WAITING or any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in indices
        ):
            raise _WaitError(str(func))
        return func(*args, **(kwargs or {}))


def _steps(device: str, options: dict[str, Any], channels: int = 3) -> Callable[[int], Phase]:
    model = tiny_classifier(channels)
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=1, mask=2), **options).to(device)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=1e-2)
    wrapper.attach(optimizer)
    images, targets = (tensor.to(device) for tensor in a_batch(16, channels, size=(96, 96)))

    def take(count: int) -> Phase:
        for _ in range(count):
            F.cross_entropy(wrapper(images, targets=targets), targets).backward()
            optimizer.step()
            optimizer.zero_grad()
        return wrapper.phase

    return take


def _take_watched(take: Callable[[int], Phase], watched: Callable[[], AbstractContextManager[Any]]) -> None:
    """The first batch is looked at, and so are the first masks that are composited with; nothing else is."""
    assert take(1) == "mask"
    with watched():
        assert take(2) == "adversarial"
    take(1)
    with watched():
        take(4)


@_every_option
def test_no_step_after_the_first_and_the_first_before_backgrounds_asks_for_a_value(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a GPU, this number follows from what lies on the host.
    monkeypatch.setattr(mixture, "draw_number", lambda _: 0.5)
    monkeypatch.setattr("advbg.clutter.draw_number", lambda _: 0.5)
    _take_watched(_steps("cpu", options), _RaisesWhereAGpuWaits)


def test_no_step_before_grey_images_asks_for_a_value() -> None:
    _take_watched(_steps("cpu", {}, channels=1), _RaisesWhereAGpuWaits)


def test_no_step_with_maps_of_labels_asks_for_a_value() -> None:
    model = torch.nn.Conv2d(3, 3, 3, padding=1)
    wrapper = adversarial_wrapper(model, mask_generator="unet", task="segmentation")
    wrapper.companions.attached = True
    images, _ = a_batch()
    labels = (images.amax(dim=1) > 0).long()
    labels[:, :2] = -100
    wrapper(images, targets=labels)
    with _RaisesWhereAGpuWaits():
        outputs = wrapper(images, targets=labels)
        F.cross_entropy(outputs, wrapper.companions.targets, ignore_index=-100).backward()


@pytest.mark.parametrize(
    "wait",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: tensor + torch.tensor([1.0]),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor.index_put((tensor > 0,), torch.zeros(())),
    ],
)
def test_the_check_finds_what_waits(wait: Callable[[torch.Tensor], Any]) -> None:
    with pytest.raises(_WaitError), _RaisesWhereAGpuWaits():
        wait(torch.ones(3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@_every_option
def test_on_a_gpu_torch_sees_no_step_wait(options: dict[str, Any]) -> None:
    @contextmanager
    def watched() -> Iterator[None]:
        try:
            torch.cuda.set_sync_debug_mode("error")
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")

    _take_watched(_steps("cuda", options), watched)


@pytest.mark.parametrize(
    "device",
    ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))],
)
def test_numbers_for_python_are_uniform_and_follow_from_the_seed(device: str) -> None:
    def draw(count: int) -> list[float]:
        generator = torch.Generator(device).manual_seed(3)
        return [draw_number(generator) for _ in range(count)]

    numbers = torch.tensor(draw(2000))
    assert torch.equal(numbers, torch.tensor(draw(2000)))
    assert 0 <= numbers.min() < 0.01
    assert 0.99 < numbers.max() < 1
    assert abs(numbers.mean() - 0.5) < 0.03
    assert len(numbers.unique()) > 1990

"""`torch.use_deterministic_algorithms(True)`, which raises for some operations on CUDA."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from advbg import AdversarialBackground, Schedule
from advbg.backgrounds.population import SPECIES, GeneratorPopulation
from advbg.masks.objectives import PaperObjective
from tests.models import a_batch

pytestmark = pytest.mark.usefixtures("deterministic")

# Those of torch's own list that raise on CUDA. Bilinear interpolation is not among them: there it has another form.
_RAISING = {
    "aten.grid_sampler_2d_backward",
    "aten.median",
    "aten.nanmedian",
    "aten.kthvalue",
    "aten.histc",
    "aten.bincount",
    "aten.put_",
    "aten._adaptive_avg_pool2d_backward",
    "aten.adaptive_max_pool2d_backward",
    "aten.reflection_pad1d_backward",
    "aten.reflection_pad2d_backward",
    "aten.upsample_bicubic2d_backward",
    "aten.nll_loss2d_forward",
    "aten.scatter_reduce",
}

_AS_TRAIN: dict[str, Any] = {
    "mask_generator": "studio",
    "clutter": 0.3,
    "distractors": 1.0,
    "placement": 0.5,
    "copies": 0.4,
    "lighting": 0.4,
}


class _RaisesAsCudaDoes(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func.overloadpacket) in _RAISING:
            raise RuntimeError(f"{func} does not have a deterministic implementation")
        return func(*args, **(kwargs or {}))


def _classifier() -> nn.Sequential:
    # Its own operations must not raise: an average over all pixels, where `tiny_classifier` has an adaptive one.
    return nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AvgPool2d(7), nn.Flatten(), nn.LazyLinear(4))


def _run(size: int, device: str = "cpu", **options: Any) -> list[float]:
    torch.manual_seed(0)
    model = _classifier()
    model(a_batch(size=(size, size))[0])
    wrapper = AdversarialBackground(model, schedule=Schedule(classifier=1, mask=2), **options).to(device)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=1e-2)
    wrapper.attach(optimizer)
    losses = []
    for seed in range(6):
        images, targets = (tensor.to(device) for tensor in a_batch(16, size=(size, size), seed=seed))
        loss = nn.functional.cross_entropy(wrapper(images, targets=targets), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert wrapper.phase == "adversarial"
    return losses


@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize(
    "options",
    [
        {},
        _AS_TRAIN,
        {"binarization": "quantile"},
        {"mask_objective": PaperObjective(), "background": "paper"},
        {"background": "scenes"},
        {"candidates": 2},
        {"background": [("adversarial", 1.0), ("scenes", 1.0)]},
    ],
    ids=["default", "as `advbg train`", "quantile", "paper", "scenes", "candidates", "mixture"],
)
def test_no_step_uses_an_operation_that_raises_on_cuda(size: int, options: dict[str, Any]) -> None:
    with _RaisesAsCudaDoes():
        _run(size, **options)


def test_generators_of_every_kind_climb_without_such_an_operation() -> None:
    generator = torch.Generator().manual_seed(0)
    population = GeneratorPopulation(3, generator, climbing=len(SPECIES), climb_every=1)
    with _RaisesAsCudaDoes():
        population.sample(16, (3, 96, 96), generator).sum().backward()
    assert all(parameter.grad is not None for parameter in population.parameters())


def test_the_operations_named_here_are_torchs() -> None:
    for name in _RAISING:
        assert hasattr(torch.ops.aten, name.removeprefix("aten.")), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("size", [32, 96])
def test_on_a_gpu_a_seed_reproduces_a_run_bit_for_bit(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without it, cuBLAS raises.
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert _run(size, "cuda", **_AS_TRAIN) == _run(size, "cuda", **_AS_TRAIN)

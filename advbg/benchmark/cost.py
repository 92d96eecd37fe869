"""What the method costs beside plain training, and beside what else could be done."""

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.optim import create_optimizer_v2  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from advbg.backgrounds.population import CLIMB_EVERY
from advbg.benchmark.environment import environment
from advbg.masks import make_mask_generator
from advbg.schedule import Schedule
from advbg.training.devices import named_device
from advbg.training.models import check_model, check_size, create_model
from advbg.wrapper import AdversarialBackground

CLASSES = 10

# Of the images' normalisation.
_MEAN, _STD = 0.5, 0.25

# A whole training, of which `Schedule.fractions` says how much belongs to which phase.
_WHOLE = 100_000
_MEMORY_STEPS = CLIMB_EVERY + 1
_VIEWS, _KERNELS, _CONSISTENCY = 3, (1, 3, 5, 7), 10.0

Step = Callable[[Tensor, Tensor], None]


@dataclass(frozen=True)
class CostSettings:
    """What is measured.

    Args:
        model: a timm model's name.
        image_size: side of the square images, in pixels.
        batch_size: images in a step.
        device: such as `cpu` or `cuda`.
        repeats: rounds in which each kind of step is timed once.
        bfloat16: whether steps run under autocast to bfloat16.
        channels_last: the memory layout of model and images.
    """

    model: str
    image_size: int
    batch_size: int
    device: str
    repeats: int
    bfloat16: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        check_model(self.model)
        # Some models' BatchNorm sees one value for each channel, of which there is no spread.
        for name, least in (("image_size", 1), ("batch_size", 2), ("repeats", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` (={getattr(self, name)}) must be {least} or more")
        named_device(self.device)
        check_size(create_model(self.model, CLASSES, seed=0, image_size=self.image_size), self.model, self.image_size)


def measure_cost(settings: CostSettings, report: Callable[[str], None]) -> dict[str, Any]:
    """Time steps of every kind in turns, and take the peak memory of each in a process of its own.

    Each turn has as many steps as lie from one climb of the default adversary to the next.

    Args:
        settings: what to measure.
        report: called with what is being done.

    Returns:
        `steps`: milliseconds (median and quartiles), the ratio to the plain step (median and quartiles over rounds,
        each a ratio within its round), the peak memory in MiB and its ratio; `schedule`: the ratio of a whole
        training with the default `Schedule.fractions`; with settings, machine and versions.
    """
    steps = {name: make(settings) for name, make in KINDS.items()}
    images, targets = _batch(settings)
    for name, step in steps.items():
        report(f"warming up: {name}")
        step(images, targets)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for round_number in range(settings.repeats):
        report(f"round {round_number + 1} of {settings.repeats}")
        for name, step in steps.items():
            seconds[name].append(_timed(step, images, targets, CLIMB_EVERY))
    del steps
    memory = {}
    for name in KINDS:
        report(f"memory: {name}")
        memory[name] = _peak_memory(name, settings)
    measured = {name: _summary(seconds[name], seconds["plain"], memory[name], memory["plain"]) for name in KINDS}
    shares = Schedule.fractions(_WHOLE)
    whole = (
        shares.classifier
        + shares.mask * measured["mask phase"]["ratio"]["median"]
        + (_WHOLE - shares.classifier - shares.mask) * measured["adversarial phase"]["ratio"]["median"]
    ) / _WHOLE
    here = {"settings": vars(settings), **environment(settings.device)}
    return {**here, "steps": measured, "schedule": round(whole, 4)}


def _summary(
    seconds: list[float], plain: list[float], memory: float | None, plain_memory: float | None
) -> dict[str, Any]:
    ratios = [own / reference for own, reference in zip(seconds, plain, strict=True)]
    return {
        "milliseconds": _spread([1000 * value for value in seconds]),
        "ratio": _spread(ratios),
        "memory_mib": memory,
        "memory_ratio": round(memory / plain_memory, 3) if memory and plain_memory else None,
    }


def _spread(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": round(middle, 4), "low": round(low, 4), "high": round(high, 4)}


def _timed(step: Step, images: Tensor, targets: Tensor, count: int) -> float:
    _synchronize(images.device)
    began = time.perf_counter()
    for _ in range(count):
        step(images, targets)
    _synchronize(images.device)
    return (time.perf_counter() - began) / count


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _batch(settings: CostSettings) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    side = settings.image_size
    pixels = torch.rand((settings.batch_size, 3, side, side), generator=generator)
    images = (pixels - _MEAN) / _STD
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    targets = torch.randint(CLASSES, (settings.batch_size,), generator=generator)
    return images.to(settings.device, memory_format=layout), targets.to(settings.device)


def _model(settings: CostSettings) -> nn.Module:
    model = create_model(settings.model, CLASSES, seed=0, image_size=settings.image_size)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    return model.to(device=settings.device, memory_format=layout).train()  # pyright: ignore[reportCallIssue]


def _autocast(settings: CostSettings) -> torch.autocast:
    return torch.autocast(torch.device(settings.device).type, torch.bfloat16, enabled=settings.bfloat16)


def _plain(settings: CostSettings) -> Step:
    return _ordinary_step(_model(settings), settings)


def _adversarial_phase(settings: CostSettings) -> Step:
    side = settings.image_size
    masks = make_mask_generator("unet", (3, side, side))
    return _ordinary_step(_wrapper(settings, schedule=Schedule(0, 0), mask_generator=masks), settings)


def _mask_phase(settings: CostSettings) -> Step:
    return _ordinary_step(_wrapper(settings, schedule=Schedule(0, _WHOLE)), settings)


def _wrapper(settings: CostSettings, **options: Any) -> AdversarialBackground:
    return AdversarialBackground(_model(settings), mean=_MEAN, std=_STD, **options).train()


def _ordinary_step(model: nn.Module, settings: CostSettings) -> Step:
    optimizer = create_optimizer_v2(model, opt="sgd", lr=1e-3, momentum=0.9)
    if isinstance(model, AdversarialBackground):
        model.attach(optimizer)

    def step(images: Tensor, targets: Tensor) -> None:
        with _autocast(settings):
            loss = F.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _two_passes(settings: CostSettings) -> Step:
    """The max step in a pass of its own, as the authors' code does it."""
    # The plain step stands for the second pass, which costs what a plain step costs.
    adversary, plain = _adversarial_phase(settings), _plain(settings)

    def step(images: Tensor, targets: Tensor) -> None:
        adversary(images, targets)
        plain(images, targets)

    return step


def _random_convolutions(settings: CostSettings) -> Step:
    """RandConv with its consistency loss (Xu et al., ICLR 2021): three views of each image through the model."""
    model = _model(settings)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=1e-3, momentum=0.9)
    generator = torch.Generator().manual_seed(0)

    def view(images: Tensor) -> Tensor:
        kernel = _KERNELS[int(torch.randint(len(_KERNELS), (), generator=generator))]
        weight = torch.randn((3, 3, kernel, kernel), generator=generator) / (3 * kernel**2) ** 0.5
        return F.conv2d(images, weight.to(images), padding=kernel // 2)

    def step(images: Tensor, targets: Tensor) -> None:
        with _autocast(settings):
            views = [model(view(images)).float() for _ in range(_VIEWS)]
            predictions = [logits.log_softmax(dim=1) for logits in views]
            mean = torch.stack([prediction.exp() for prediction in predictions]).mean(dim=0)
            divergence = sum(F.kl_div(prediction, mean, reduction="batchmean") for prediction in predictions)
            loss = F.cross_entropy(views[0], targets) + _CONSISTENCY * divergence / _VIEWS
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _cut_and_paste(settings: CostSettings) -> Step:
    """Masks and backgrounds made beforehand, pasted in the training loop."""
    plain = _plain(settings)
    images, _ = _batch(settings)
    masks = (images[:, :1] > 0).to(images.dtype)
    backgrounds = images.flip(0)

    def step(images: Tensor, targets: Tensor) -> None:
        plain(images * masks + backgrounds * (1 - masks), targets)

    return step


KINDS: dict[str, Callable[[CostSettings], Step]] = {
    "plain": _plain,
    "adversarial phase": _adversarial_phase,
    "mask phase": _mask_phase,
    "two passes": _two_passes,
    "RandConv with consistency": _random_convolutions,
    "offline cut and paste": _cut_and_paste,
}


def _peak_memory(name: str, settings: CostSettings) -> float | None:
    """MiB that a kind of step takes at its peak, beyond what the process has before; None where that is not known."""
    device = torch.device(settings.device)
    if device.type == "cuda":
        return _peak_on_gpu(name, settings, device)
    if device.type != "cpu" or sys.platform != "linux":
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_process, (name, settings, torch.get_num_threads()))


def _peak_on_gpu(name: str, settings: CostSettings, device: torch.device) -> float:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    _run_steps(name, settings)
    return round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)


def _peak_of_process(name: str, settings: CostSettings, threads: int) -> float:
    torch.set_num_threads(threads)
    # `getrusage` would count what the parent process had when this one was made.
    Path("/proc/self/clear_refs").write_text("5")
    before = _highest_resident()
    _run_steps(name, settings)
    return round((_highest_resident() - before) / 1024, 1)


def _highest_resident() -> int:
    """KiB of memory at the highest since it was last cleared."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


def _run_steps(name: str, settings: CostSettings) -> None:
    step = KINDS[name](settings)
    images, targets = _batch(settings)
    for _ in range(_MEMORY_STEPS):
        step(images, targets)

"""The study of the adversary: what makes the max step worth its seconds."""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.environment import environment
from advbg.benchmark.evaluation import accuracy_before_paper_backgrounds
from advbg.benchmark.files import read_json, write_json
from advbg.benchmark.held_out import OBJECTS, make_held_out, right_before
from advbg.benchmark.study_arms import ARMS, Arm, Battle
from advbg.masks import make_mask_generator
from advbg.schedule import Schedule
from advbg.wrapper import AdversarialBackground

_LEARNING_RATE = 1e-3
_TEST_IMAGES = 1000
_ROUNDS, _TIMED_STEPS = 5, 8


@dataclass(frozen=True)
class StudySettings:
    """What makes a study what it is.

    Args:
        arms: names of what is compared, of `ARMS`.
        seconds: of training that each arm gets.
        batch_size: images in a step.
        seed: of everything random.
        bfloat16: whether to train under autocast to bfloat16.
    """

    arms: tuple[str, ...]
    seconds: float
    batch_size: int
    seed: int
    bfloat16: bool

    def __post_init__(self) -> None:
        unknown = [name for name in self.arms if name not in ARMS]
        if unknown or not self.arms:
            raise ValueError(f"`arms` (={','.join(self.arms)!r}) must be some of {', '.join(ARMS)}")
        if self.seconds <= 0:
            raise ValueError(f"`seconds` (={self.seconds}) must be over 0")
        missing = {ARMS[name].steps_of for name in self.arms} - {None, *self.arms}
        if missing:
            raise ValueError(f"`arms` (={','.join(self.arms)!r}) must also have {', '.join(map(str, missing))}")


def run_study(
    settings: StudySettings,
    dataset: ImageDataset,
    start_file: Path,
    output: Path,
    report: Callable[[str, int, int, float], None],
) -> dict[str, Any]:
    """Train every arm for equal seconds from one start, and test all of them before held-out backgrounds.

    The seconds of a step are measured first, arm after arm in turns, so that whatever else the machine does meets all
    of them alike; they decide how many steps each arm gets. What is done is in `output`, and is not done again.

    Args:
        settings: of the study.
        dataset: the images.
        start_file: the end of the mask phase that `reproduce` keeps (`masks-default.pt`).
        output: the JSON file of the results.
        report: called with the arm's name, the step, the number of steps and the loss.

    Returns:
        What `output` holds.

    Raises:
        FileNotFoundError: where something is left to do and `start_file` is missing.
        ValueError: where `output` has other settings, or is damaged.
    """
    results = _read_or_begin(settings, dataset, output)
    if set(settings.arms) - results["arms"].keys() and not start_file.is_file():
        raise FileNotFoundError(
            f"the study begins at {str(start_file)!r}, which a run leaves: take `random` out of the results that are "
            "published for this seed to run it again"
        )
    if not results["milliseconds"]:
        results["milliseconds"] = _time_steps(settings, dataset, start_file)
        write_json(output, results)
    for name in settings.arms:
        if name not in results["arms"]:
            milliseconds = results["milliseconds"][ARMS[name].steps_of or name]
            steps = max(1, round(1000 * settings.seconds / milliseconds))
            results["arms"][name] = _train_and_test(name, settings, dataset, start_file, steps, report)
            write_json(output, results)
    return results


def _read_or_begin(settings: StudySettings, dataset: ImageDataset, output: Path) -> dict[str, Any]:
    ours = json.loads(json.dumps(asdict(settings)))
    if output.is_file():
        results = read_json(output, "settings", "milliseconds", "arms")
        if results["settings"] != ours:
            raise ValueError(f"the study in {str(output)!r} has settings {results['settings']}, not {ours}")
        return results
    return {"dataset": dataset.name, "settings": ours, **environment(), "milliseconds": {}, "arms": {}}


def _time_steps(settings: StudySettings, dataset: ImageDataset, start_file: Path) -> dict[str, float]:
    """Mean milliseconds of a step of each arm, measured in turns."""
    steps = {name: _steps(ARMS[name], settings, dataset, start_file, 10**6)[1] for name in settings.arms}
    times: dict[str, list[float]] = {name: [] for name in settings.arms}
    for _ in range(_ROUNDS):
        for name, step in steps.items():
            for _ in range(_TIMED_STEPS):
                began = time.perf_counter()
                next(step)
                times[name].append(1000 * (time.perf_counter() - began))
    # The first round warms up.
    return {name: round(statistics.mean(values[_TIMED_STEPS:]), 3) for name, values in times.items()}


def _train_and_test(
    name: str,
    settings: StudySettings,
    dataset: ImageDataset,
    start_file: Path,
    steps: int,
    report: Callable[[str, int, int, float], None],
) -> dict[str, Any]:
    model, training = _steps(ARMS[name], settings, dataset, start_file, steps)
    began = time.perf_counter()
    for step, loss in enumerate(training, start=1):
        report(name, step, steps, loss)
    seconds = time.perf_counter() - began
    model.eval()
    images, targets = dataset.test_images[:_TEST_IMAGES], dataset.test_targets[:_TEST_IMAGES]
    held_out = make_held_out(dataset.train_images[:OBJECTS])
    measured: dict[str, Any] = {"steps": steps, "seconds": round(seconds, 1)}
    for part, backgrounds in (("choose", held_out.choose), ("report", held_out.report)):
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            right = right_before(model, images, targets, backgrounds)
        measured[part] = {
            "mean": 100 * right.float().mean().item(),
            "all": 100 * right.all(dim=0).float().mean().item(),
            "each": dict(zip(backgrounds, (100 * right.float().mean(dim=1)).tolist(), strict=True)),
        }
    measured["accuracy"] = accuracy_before_paper_backgrounds(model, images, targets)
    return measured


def _steps(
    arm: Arm, settings: StudySettings, dataset: ImageDataset, start_file: Path, total_steps: int
) -> tuple[nn.Module, Iterator[float]]:
    """The model of an arm, and its training step by step, which yields losses."""
    channels, size = dataset.train_images.shape[1:3]
    saved = torch.load(start_file, weights_only=True)["parts"]
    model = PaperClassifier(image_size=size, channels=channels, classes=len(dataset.class_names))
    model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    model.load_state_dict(saved["model"])
    prefix = "mask_generator."
    masks = make_mask_generator("unet", (channels, size, size))
    weights = {key.removeprefix(prefix): value for key, value in saved["companions"].items() if key.startswith(prefix)}
    assert isinstance(masks, nn.Module)
    masks.load_state_dict(weights)
    battle = Battle(model, bfloat16=settings.bfloat16)
    shape = (channels, size, size)
    source = arm.make_source(battle, shape, settings.batch_size, torch.Generator().manual_seed(settings.seed))
    wrapper = AdversarialBackground(
        model,
        background=source,
        mask_generator=masks.requires_grad_(False),
        schedule=Schedule(classifier=0, mask=0),
        clean_share=0.0 if arm.consistency else 0.25,
        seed=settings.seed,
    )
    return model, _train(arm, battle, wrapper, settings, dataset, total_steps)


def _train(
    arm: Arm,
    battle: Battle,
    wrapper: AdversarialBackground,
    settings: StudySettings,
    dataset: ImageDataset,
    total_steps: int,
) -> Iterator[float]:
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=_LEARNING_RATE)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2 * _LEARNING_RATE, total_steps=total_steps)
    wrapper.attach(optimizer)
    wrapper.train()
    batches = _batches(dataset, settings)
    for _ in range(total_steps):
        images, targets = next(batches)
        battle.images, battle.targets = images, targets
        battle.masks = wrapper.companions.foreground(images) if arm.looks_at_batch else None
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            logits = wrapper(images).float()
            loss = F.cross_entropy(logits, targets)
            if arm.consistency:
                clean = wrapper.model(images).float()
                loss = (loss + F.cross_entropy(clean, targets)) / 2 + arm.consistency * _divergence(clean, logits)
        loss.backward()
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        yield loss.item()


def _divergence(clean: Tensor, changed: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the predictions on the changed images from those on the clean ones."""
    return F.kl_div(changed.log_softmax(dim=1), clean.log_softmax(dim=1), log_target=True, reduction="batchmean")


def _batches(dataset: ImageDataset, settings: StudySettings) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole batches only, in an order that is the same for all arms."""
    order = torch.Generator().manual_seed(settings.seed)
    while True:
        shuffled = torch.randperm(len(dataset.train_images), generator=order)
        for indices in shuffled.split(settings.batch_size):
            if len(indices) == settings.batch_size:
                yield dataset.train_images[indices], dataset.train_targets[indices]

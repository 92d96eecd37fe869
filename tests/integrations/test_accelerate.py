"""The companions under Accelerate, which needs no code of ours: prepare, accumulate, save_state."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from advbg import AdversarialBackground, Schedule
from tests.models import a_batch, tiny_classifier

accelerate = pytest.importorskip("accelerate")

from accelerate.state import AcceleratorState, GradientState  # noqa: E402

_SCHEDULE = Schedule(classifier=2, mask=2)


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """What Accelerators share within a process is forgotten after each test."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


class Run:
    """A training script with Accelerate; without a schedule, it trains the plain model."""

    def __init__(self, schedule: Schedule | None = _SCHEDULE, *, attach_late: bool = False, **options: Any) -> None:
        self.accelerator = accelerate.Accelerator(cpu=True, **options)
        self.plain = tiny_classifier(batch_norm=True)
        optimizer = torch.optim.Adam(self.plain.parameters(), lr=1e-2)
        model = self.plain
        if schedule is not None:
            model = AdversarialBackground(self.plain, schedule=schedule)
            if not attach_late:
                model.attach(optimizer)
            self.accelerator.register_for_checkpointing(model.companions)
        self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        if attach_late:
            self.model.attach(self.optimizer)

    def train(self, first: int, batches: int) -> list[float]:
        losses = []
        for step in range(first, batches):
            images, targets = a_batch(seed=step)
            with self.accelerator.accumulate(self.model):
                loss = nn.functional.cross_entropy(self.model(images), targets)
                self.accelerator.backward(loss)
                self.accelerator.clip_grad_norm_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.optimizer.zero_grad()
            losses.append(loss.item())
        return losses


def test_the_example_trains_in_all_phases_and_saves_a_plain_model(
    run_example: Callable[..., Any], tmp_path: Path
) -> None:
    losses = run_example("accelerate_train", "--model", "resnet10t")
    assert len(losses) == 8
    output = tmp_path / "output"
    companions = torch.load(output / "epoch-4" / "custom_checkpoint_0.pkl", weights_only=True)
    assert companions["_extra_state"]["step_count"] == 8
    assert load_file(output / "epoch-4" / "model.safetensors").keys() == torch.load(output / "model.pt").keys()


def test_the_example_says_how_its_images_are_normalised_whatever_the_model(run_example: Callable[..., Any]) -> None:
    # timm normalises this one otherwise than the example does.
    assert len(run_example("accelerate_train", "--model", "test_resnet")) == 8


def test_the_example_goes_on_where_it_was(run_example: Callable[..., Any], tmp_path: Path) -> None:
    losses = run_example("accelerate_train", "--model", "resnet10t")
    resumed = run_example("accelerate_train", "--model", "resnet10t", "--resume", str(tmp_path / "output" / "epoch-2"))
    assert resumed == losses[4:]


def test_the_example_trains_without_us(run_example: Callable[..., Any], tmp_path: Path) -> None:
    assert len(run_example("accelerate_train", "--model", "resnet10t", "--no-advbg")) == 8
    assert not list(tmp_path.rglob("custom_checkpoint_*"))


def test_with_the_companions_switched_off_the_run_is_the_plain_run() -> None:
    plain = Run(schedule=None).train(0, 5)
    assert Run(Schedule(classifier=1000)).train(0, 5) == plain
    assert Run(Schedule(classifier=0, mask=1)).train(0, 5) != plain


@pytest.mark.parametrize(
    "steps", [1, 2, 3, 4, 6], ids=["classifier", "to mask", "mask", "to adversarial", "adversarial"]
)
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, steps: int) -> None:
    whole = Run()
    losses = whole.train(0, steps + 3)
    broken = Run()
    broken.train(0, steps)
    broken.accelerator.save_state(str(tmp_path / "state"))
    resumed = Run()
    resumed.accelerator.load_state(str(tmp_path / "state"))
    assert resumed.train(steps, steps + 3) == losses[steps:]
    assert all(torch.equal(a, b) for a, b in zip(resumed.plain.parameters(), whole.plain.parameters(), strict=True))


def test_a_saved_state_has_the_plain_models_keys(tmp_path: Path) -> None:
    run = Run()
    run.train(0, 5)
    run.accelerator.save_state(str(tmp_path / "state"))
    saved = load_file(tmp_path / "state" / "model.safetensors")
    assert saved.keys() == tiny_classifier(batch_norm=True).state_dict().keys()
    assert run.accelerator.get_state_dict(run.model).keys() == saved.keys()


def test_the_companions_step_with_the_optimizer_not_with_the_batches() -> None:
    run = Run(gradient_accumulation_steps=2)
    steps = []
    for batch in range(6):
        run.train(batch, batch + 1)
        steps.append(run.model.companions.step_count)
    assert steps == [0, 1, 1, 2, 2, 3]


def test_attaching_after_prepare_is_attaching_before() -> None:
    early, late = Run(gradient_accumulation_steps=2), Run(gradient_accumulation_steps=2, attach_late=True)
    assert late.train(0, 10) == early.train(0, 10)
    assert late.model.companions.step_count == early.model.companions.step_count == 5


def test_a_run_in_bfloat16_goes_through_all_phases() -> None:
    run = Run(mixed_precision="bf16")
    assert torch.tensor(run.train(0, 7)).isfinite().all()
    assert run.model.phase == "adversarial"
    assert {parameter.dtype for parameter in run.model.companions.parameters()} == {torch.float32}


def test_unwrapping_gives_the_wrapper_and_its_model_is_ours() -> None:
    run = Run(mixed_precision="bf16")
    wrapper = run.accelerator.unwrap_model(run.model)
    assert isinstance(wrapper, AdversarialBackground)
    assert wrapper.model is run.plain

"""What is said when a training is over that met no other background."""

import gc
import subprocess
import sys
import warnings

import pytest
import torch

import advbg
from advbg import AdversarialBackground, Schedule
from tests.models import tiny_classifier, train

STEPS = 3
_ENDED = r"ended after 3 steps, before any other background: its schedule was still in the classifier phase; pass"


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three steps are a training, and no failure of another test is remembered."""
    gc.collect()
    monkeypatch.setattr("advbg.attachment.STEPS_OF_A_TRAINING", STEPS)
    monkeypatch.delattr(sys, "last_value", raising=False)


def _trained(steps: int, schedule: Schedule) -> list[AdversarialBackground | torch.optim.Optimizer]:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=schedule)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, steps)
    return [wrapper, optimizer]


def test_a_training_that_ended_before_the_adversarial_phase_is_warned_of() -> None:
    trained = _trained(STEPS, Schedule(9, 9))
    with pytest.warns(UserWarning, match=_ENDED):
        trained.clear()


def test_an_attachment_that_is_removed_before_the_adversarial_phase_is_warned_of() -> None:
    model = tiny_classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attachment = advbg.attach(model, optimizer)
    train(model, optimizer, STEPS)
    with pytest.warns(UserWarning, match=_ENDED):
        attachment.remove()


@pytest.mark.parametrize(
    ("steps", "schedule"),
    [(STEPS - 1, Schedule(9, 9)), (STEPS, Schedule(1, 1)), (STEPS, Schedule(1, STEPS - 1))],
    ids=["a trial", "long enough", "for the masks alone"],
)
def test_a_trial_and_a_training_that_was_long_enough_end_without_a_word(steps: int, schedule: Schedule) -> None:
    trained = _trained(steps, schedule)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained.clear()
        gc.collect()
    assert not caught


def test_a_training_that_failed_has_said_so_itself() -> None:
    def fail() -> None:
        trained = _trained(STEPS, Schedule(9, 9))
        raise RuntimeError(f"the user's own, after {trained[0].companions.step_count} steps")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fail()
        except RuntimeError as error:
            # Let go of while the error is handled, as in a notebook that goes on.
            error.__traceback__ = None
            gc.collect()
    assert not caught


def test_an_error_before_the_training_does_not_hide_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "last_value", ValueError("of an hour ago"), raising=False)
    trained = _trained(STEPS, Schedule(9, 9))
    with pytest.warns(UserWarning, match=_ENDED):
        trained.clear()


def test_an_error_that_a_prompt_has_shown_since_it_began_ends_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = _trained(STEPS, Schedule(9, 9))
    monkeypatch.setattr(sys, "last_value", ValueError("of the training"), raising=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained.clear()
        gc.collect()
    assert not caught


def test_a_training_that_goes_on_with_another_optimizer_is_not_over() -> None:
    wrapper, first = _trained(STEPS, Schedule(4, 1))
    second = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(second)
    del first
    train(wrapper, second, STEPS)
    assert wrapper.phase == "adversarial"


_SCRIPT = """
import torch
import advbg.attachment
from advbg import AdversarialBackground
from tests.models import tiny_classifier, train
advbg.attachment.STEPS_OF_A_TRAINING = 3
wrapper = AdversarialBackground(tiny_classifier())
optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
wrapper.attach(optimizer)
train(wrapper, optimizer, 3)
"""


@pytest.mark.parametrize(("last_line", "said"), [("", True), ("raise SystemExit(0)", True), ("1 / 0", False)])
def test_a_script_says_so_when_it_ends_unless_it_failed(last_line: str, said: bool) -> None:
    run = subprocess.run([sys.executable, "-c", _SCRIPT + last_line], capture_output=True, text=True)
    assert ("before any other background" in run.stderr) == said
    assert run.stderr.count("Traceback") == (not said)

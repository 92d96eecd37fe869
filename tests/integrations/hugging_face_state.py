"""What Hugging Face's trainers share within a process."""

from collections.abc import Iterator

import pytest

pytest.importorskip("accelerate")

from accelerate.state import AcceleratorState, GradientState


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    """What Accelerators share within a process is forgotten after each test."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()

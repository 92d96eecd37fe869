"""Shapes and dtypes in the annotations of `advbg` are checked by beartype over the whole suite."""

from jaxtyping import install_import_hook

import tests.typechecking  # noqa: F401  (the hook looks it up by its name)

install_import_hook("advbg", "tests.typechecking.check")

from collections.abc import Iterator  # noqa: E402

import pytest  # noqa: E402
import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

# On tensors this small a second thread costs more than it brings.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_process_group_is_left_behind() -> Iterator[None]:
    """Trainers of others start process groups and leave them; the next test must be able to start its own."""
    before = dist.is_initialized()
    yield
    if dist.is_initialized() and not before:
        dist.destroy_process_group()


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Deterministic algorithms, where there are some; torch raises for other operations."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)

"""Weights and states in files."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from advbg.files import save_state, save_weights

WEIGHTS = {"layer.weight": torch.linspace(0, 1, 10_000).reshape(100, 100).t(), "layer.bias": torch.zeros(100)}


def write_state(path: Path) -> None:
    save_state(WEIGHTS, path)


def write_weights(path: Path) -> None:
    save_weights(WEIGHTS, path, header="advbg_test", description={"classes": ["å", "b"]})


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """As on a disk that is full: no file can have more bytes."""
    resource = pytest.importorskip("resource")
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_state_is_read_as_it_was(tmp_path: Path) -> None:
    write_state(tmp_path / "state.pt")
    read = torch.load(tmp_path / "state.pt", weights_only=True)
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())


def test_saved_weights_say_what_they_are(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.safetensors")
    with safe_open(tmp_path / "weights.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["advbg_test"]) == {"classes": ["å", "b"]}
    read = load_file(tmp_path / "weights.safetensors")
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())


@pytest.mark.parametrize("write", [write_state, write_weights])
def test_where_there_is_no_room_the_file_before_stays_and_the_error_names_it(
    write: Callable[[Path], Any], tmp_path: Path
) -> None:
    file = tmp_path / "file.bin"
    write(file)
    before = file.read_bytes()
    with room_for(10_000), pytest.raises(OSError, match=r"file\.bin"):
        write(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere/state\.pt"):
        write_state(tmp_path / "nowhere" / "state.pt")


def test_weights_that_layers_share_are_written_under_every_name(tmp_path: Path) -> None:
    shared = torch.rand(3, 4)
    save_weights({"a": shared, "b": shared, "c": shared[:2]}, tmp_path / "w.safetensors", header="x", description={})
    read = load_file(tmp_path / "w.safetensors")
    assert {name: tensor.tolist() for name, tensor in read.items()} == {
        "a": shared.tolist(),
        "b": shared.tolist(),
        "c": shared[:2].tolist(),
    }

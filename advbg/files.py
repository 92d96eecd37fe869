"""Files that are either whole or not there."""

import io
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

_TEMPORARY = re.compile(r"\..+-[0-9a-f]{32}(\.[^.]+)?")
# In seconds; no file takes as long to write.
_ABANDONED = 3600


class DamagedStateError(RuntimeError):
    """A saved state that a training cannot go on from."""


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, which takes its place when the context ends well.

    Args:
        path: of the file; its folder exists.

    Yields:
        A path with the same suffix in the same folder. It is removed where the context raises.

    Raises:
        OSError: where the file cannot be written; it names `path`.
    """
    temporary = path.with_name(f".{path.stem}-{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno is None:
            raise
        # A full disk names no file, and other mistakes the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` that a killed process has left, in sub-folders as well.

    Args:
        folder: of a run. What is younger than an hour stays, since another process may be writing it.
    """
    for file in folder.rglob(".*"):
        # Where it is gone already, or held by a process, it is not ours to remove.
        with suppress(OSError):
            if _TEMPORARY.fullmatch(file.name) and time.time() - file.stat().st_mtime > _ABANDONED:
                file.unlink()


def save_state(state: Any, path: Path) -> None:
    """Write what `torch.load(path, weights_only=True)` reads.

    Args:
        state: of tensors and plain values.
        path: of the file; its folder exists.

    Raises:
        OSError: where the file cannot be written; it names `path`.
    """
    # By way of memory, since torch says of a full disk that a position was unexpected.
    content = io.BytesIO()
    torch.save(state, content)
    with write_atomically(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def save_weights(weights: Mapping[str, Tensor], path: Path, *, header: str, description: Mapping[str, Any]) -> None:
    """Write weights as safetensors.

    Args:
        weights: on any device.
        path: of the file; its folder exists.
        header: the name that `description` has in the file's header.
        description: what is needed to build what the weights are of; values that JSON knows.

    Raises:
        OSError: where the file cannot be written; it names `path`.
    """
    # A copy of each, since layers may share weights under several names, all of which a model asks for.
    tensors = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in weights.items()
    }
    with write_atomically(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={header: json.dumps(description)}))


def load_weights(path: Path, *, header: str, kind: str, writer: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `save_weights` wrote.

    Args:
        path: of the file.
        header: the name that the description has in the file's header.
        kind: what is in the file, for messages.
        writer: who writes such files, for messages.

    Returns:
        The description and the weights, on the CPU.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged or something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{kind} {str(path)!r} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            description = (file.metadata() or {}).get(header)
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{kind} {str(path)!r} is damaged or no safetensors file: {error}") from error
    if description is None:
        raise ValueError(f"{kind} {str(path)!r} was not written by `{writer}`: it has no description")
    return json.loads(description), weights

"""Files that are either whole or not there."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors.torch import save
from torch import Tensor


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

"""Random streams that are saved with a run, and resumed elsewhere."""

import hashlib

import torch
from torch import Tensor

from advbg.distributed import reseed_for_rank


def resume_stream(generator: torch.Generator, state: Tensor, saved_rank: int) -> None:
    """Go on with a saved random stream, on another kind of device or process with one that follows from it.

    Args:
        generator: on the device of this run.
        state: what `get_state()` of the saved one said, wherever `map_location` has moved it since. Streams of a CPU
            and of a GPU cannot continue each other: another kind's state becomes a seed.
        saved_rank: of the process that saved it.
    """
    state = state.cpu()
    if state.shape == generator.get_state().shape:
        generator.set_state(state)
    else:
        digest = hashlib.sha256(state.numpy().tobytes()).digest()
        generator.manual_seed(int.from_bytes(digest[:7], "big"))
    reseed_for_rank(generator, saved_rank)

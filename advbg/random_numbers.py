"""Random numbers that Python needs, drawn without waiting for a GPU."""

import hashlib

import torch

# As many as the digits of a float hold.
_BYTES = 6


def draw_number(generator: torch.Generator) -> float:
    """Draw one number in [0, 1) from a generator, which goes on after it.

    A GPU's generator is asked for its state alone, which lies on the host, and the number follows from that.
    """
    # On a GPU this only moves the generator on.
    drawn = torch.rand((), generator=generator, device=generator.device)
    if generator.device.type != "cuda":
        return drawn.item()
    digest = hashlib.sha256(generator.get_state().numpy().tobytes()).digest()
    return int.from_bytes(digest[:_BYTES], "big") / 256**_BYTES

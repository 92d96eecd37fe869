"""Where to train."""

import torch

DEVICES = ("auto", "cpu", "cuda")


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is the GPU if there is one.

    Args:
        name: one of `DEVICES`.

    Raises:
        ValueError: where it is none of them, or there is no GPU.
    """
    if name not in DEVICES:
        raise ValueError(f"`device` (={name!r}) must be one of {', '.join(DEVICES)}")
    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ValueError(f"`device` (={name!r}) is not there: torch finds no GPU")
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")

"""Where to train."""

import torch


def choose_device(name: str) -> torch.device:
    """The device of this name; `auto` is the GPU if there is one.

    Args:
        name: `auto`, or as `named_device` takes it.

    Raises:
        ValueError: as `named_device`.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return named_device(name)


def named_device(name: str) -> torch.device:
    """A device, once something was computed on it.

    Args:
        name: as torch has it, such as `cpu`, `cuda:1` or `mps`.

    Raises:
        ValueError: where torch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except Exception as error:  # whatever a driver raises
        first_sentence = str(error).splitlines()[0].partition(". ")[0]
        raise ValueError(f"`device` (={name!r}) cannot be computed on: {first_sentence}") from error
    return device

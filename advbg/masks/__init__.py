"""Mask generators, their objectives, and masks that need none."""

from collections.abc import Callable

from torch import Tensor, nn

from advbg.masks.binarization import Binarization, binarize
from advbg.masks.given import check_mask, nonzero_mask
from advbg.masks.objectives import MaskObjective, PaperObjective, SufficiencyNecessity
from advbg.masks.unet import PaperUNet, UNet

# Named mask generators.
MASK_GENERATOR_NAMES = ("unet", "paper", "nonzero")


def make_mask_generator(
    choice: str | Callable[[Tensor], Tensor], shape: tuple[int, int, int]
) -> Callable[[Tensor], Tensor]:
    """Make a mask generator by its name.

    Args:
        choice: one of `MASK_GENERATOR_NAMES`, or anything from pixels in [0, 1] to masks in [0, 1], which is returned
            as it is.
        shape: channels, height and width of the images.

    Raises:
        ValueError: where the name is none of these.
        TypeError: where the choice is neither a name nor callable.
    """
    check_mask_generator(choice)
    if choice == "unet":
        return UNet.for_size(*shape)
    if choice == "paper":
        return PaperUNet.for_size(*shape)
    return nonzero_mask if isinstance(choice, str) else choice


def check_mask_generator(choice: object) -> None:
    """Check the choice of a mask generator without making it; raises as `make_mask_generator` does."""
    if isinstance(choice, str) and choice not in MASK_GENERATOR_NAMES:
        raise ValueError(
            f"`mask_generator` (={choice!r}) must be one of {', '.join(MASK_GENERATOR_NAMES)}, or a module of your own"
        )
    if not callable(choice) and not isinstance(choice, str):
        raise TypeError(f"`mask_generator` (={choice!r}) must map pixels to masks")


def is_learned(choice: object) -> bool:
    """Whether a mask generator, chosen as for `make_mask_generator`, has anything to learn."""
    if isinstance(choice, nn.Module):
        return any(parameter.requires_grad for parameter in choice.parameters())
    return choice in ("unet", "paper")


__all__ = [
    "MASK_GENERATOR_NAMES",
    "Binarization",
    "MaskObjective",
    "PaperObjective",
    "PaperUNet",
    "SufficiencyNecessity",
    "UNet",
    "binarize",
    "check_mask",
    "check_mask_generator",
    "is_learned",
    "make_mask_generator",
    "nonzero_mask",
]

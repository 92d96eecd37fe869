"""Mask generators, their objectives, and masks that need none."""

from collections.abc import Callable

from torch import Tensor, nn

from advbg.hooks import factories, left_out
from advbg.masks.binarization import Binarization, binarize
from advbg.masks.given import check_mask, nonzero_mask
from advbg.masks.objectives import MaskObjective, PaperObjective, SufficiencyNecessity
from advbg.masks.unet import PaperUNet, StudioUNet, UNet

# Named mask generators.
MASK_GENERATOR_NAMES = ("unet", "studio", "paper", "nonzero")


def make_mask_generator(
    choice: str | Callable[[Tensor], Tensor], shape: tuple[int, int, int]
) -> Callable[[Tensor], Tensor]:
    """Make a mask generator by its name.

    Args:
        choice: one of `mask_generator_names()`, or anything from pixels in [0, 1] to masks in [0, 1], which is returned
            as it is.
        shape: channels, height and width of the images.

    Raises:
        ValueError: where the name is none of these.
        TypeError: where the choice is neither a name nor callable.
    """
    check_mask_generator(choice)
    if choice == "unet":
        return UNet.for_size(*shape)
    if choice == "studio":
        return StudioUNet.for_size(*shape)
    if choice == "paper":
        return PaperUNet.for_size(*shape)
    if choice == "nonzero":
        return nonzero_mask
    if isinstance(choice, str):
        made: Callable[[Tensor], Tensor] = factories("advbg_mask_generators", MASK_GENERATOR_NAMES)[choice](shape)
        if not callable(made):
            raise TypeError(f"the plugin that adds {choice!r} made {made!r}, which does not map pixels to masks")
        return made
    return choice


def mask_generator_names() -> tuple[str, ...]:
    """The library's own mask generators and those that plugins add."""
    return (*MASK_GENERATOR_NAMES, *factories("advbg_mask_generators", MASK_GENERATOR_NAMES))


def check_mask_generator(choice: object) -> None:
    """Check the choice of a mask generator without making it; raises as `make_mask_generator` does."""
    if isinstance(choice, str) and choice not in mask_generator_names():
        raise ValueError(
            f"`mask_generator` (={choice!r}) must be one of {', '.join(mask_generator_names())}, or a module of your "
            f"own{left_out()}"
        )
    if isinstance(choice, type) or not (callable(choice) or isinstance(choice, str)):
        raise TypeError(f"`mask_generator` (={choice!r}) must map pixels to masks")


def is_learned(choice: object) -> bool:
    """Whether a mask generator, chosen as for `make_mask_generator`, has anything to learn.

    One that a plugin adds by name is taken for one that has, until it is made.
    """
    if isinstance(choice, nn.Module):
        return any(parameter.requires_grad for parameter in choice.parameters())
    return isinstance(choice, str) and choice != "nonzero"


__all__ = [
    "MASK_GENERATOR_NAMES",
    "Binarization",
    "MaskObjective",
    "PaperObjective",
    "PaperUNet",
    "StudioUNet",
    "SufficiencyNecessity",
    "UNet",
    "binarize",
    "check_mask",
    "check_mask_generator",
    "is_learned",
    "make_mask_generator",
    "mask_generator_names",
    "nonzero_mask",
]

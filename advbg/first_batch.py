"""What can be said with the first batch of a training or a phase, and would else be found out late or never."""

from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from advbg.appearance import has_foreground
from advbg.masks import MASK_GENERATOR_NAMES
from advbg.masks.learning import check_learned
from advbg.pixel_space import outside_unit_interval
from advbg.task_hooks import changes_targets
from advbg.warning import warn

if TYPE_CHECKING:
    from advbg.companions import Companions

_HELP = "look at `advbg.preview`, and learn masks in more steps, or pass others by `mask=`"
_HALF = 0.5


def check_training_batch(companions: "Companions", images: Tensor, mask: Tensor | None, targets: Any | None) -> None:
    """Check that there are masks or will be.

    The first batch, whatever was drawn or evaluated before, decides whether masks are given; where a task lacks its
    targets, there is a warning of it.

    Args:
        companions: built for the images.
        images: the model's input.
        mask: that came with the batch, or was found in its targets.
        targets: that came with the batch.

    Raises:
        ValueError: where masks are neither given nor learned nor going to be, or a mask generator of one's own makes
            none.
    """
    options = companions.options
    if companions.batches:
        if mask is None and companions.masks_given:
            check_learned(options.mask_generator, companions.mask_optimizer)
        return
    companions.masks_given |= mask is not None
    if mask is None and not options.schedule.mask:
        check_learned(options.mask_generator, companions.mask_optimizer)
    if mask is None and options.mask_generator not in MASK_GENERATOR_NAMES:
        _check_own_masks(companions, companions.soft_mask(images[:1]))
    # Label maps may be of images without any object.
    if mask is not None and not changes_targets(options.task):
        _warn_of_useless(mask, "given masks")
        _warn_of_faint(mask)
    size = images.shape[-2:]
    if options.task == "classification" and isinstance(targets, Tensor) and targets.shape[1:][-2:] == size:
        warn(
            f"`targets` of shape {tuple(targets.shape)} are as large as the images, but {options.task!r} leaves them "
            "as they are: for label maps, pass `task='segmentation'`"
        )
    if targets is None and changes_targets(options.task):
        warn(
            f"`task` (={options.task!r}) changes targets with the background, but the first batch came without "
            "`targets=`: they stay as they are, and do not say where objects are"
        )


def check_masks(companions: "Companions", soft: Float[Tensor, "batch 1 rows columns"]) -> None:
    """Look at the first masks that are composited with, and warn where none shows an object, or all show nothing else.

    Args:
        companions: in the adversarial phase.
        soft: from their mask generator.

    Raises:
        ValueError: where a mask generator of one's own has learned to leave [0, 1], and nothing makes its masks hard.
    """
    if companions.masks_checked:
        return
    companions.masks_checked = True
    options = companions.options
    if options.binarization == "none" and options.mask_generator not in MASK_GENERATOR_NAMES:
        _check_own_masks(companions, soft)
    _warn_of_useless(companions.binarize(soft), "masks")


def _warn_of_useless(mask: Float[Tensor, "batch 1 rows columns"], name: str) -> None:
    if not has_foreground(mask).any():
        warn(f"the {name} of all {len(mask)} images are empty, so these keep their own backgrounds: {_HELP}")
    elif mask.min() == 1:
        warn(f"the {name} of all {len(mask)} images cover them whole, so no background is left to change: {_HELP}")


def _warn_of_faint(mask: Float[Tensor, "batch 1 height width"]) -> None:
    largest = mask.max()
    if largest < _HALF and has_foreground(mask).any():
        warn(
            f"the given masks of all {len(mask)} images stay under {_HALF} (the largest is {largest.item():.3g}), so "
            "their objects vanish as well: masks are 1 where objects are, so do not divide them by 255 twice"
        )


def _check_own_masks(companions: "Companions", soft: Tensor) -> None:
    if outside := outside_unit_interval(soft):
        low, high = outside
        raise ValueError(
            f"the mask generator {type(companions.mask_generator).__name__} made values over [{low:.3g}, "
            f"{high:.3g}], expected masks in [0, 1]: end it in a sigmoid"
        )

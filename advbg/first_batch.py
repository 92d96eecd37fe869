"""What can be said with the first batch of a training, and would else be found out late or never."""

import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor

from advbg.masks import MASK_GENERATOR_NAMES
from advbg.masks.learning import check_learned
from advbg.pixel_space import outside_unit_interval
from advbg.task_hooks import changes_targets

if TYPE_CHECKING:
    from advbg.companions import Companions


def check_first_batch(companions: "Companions", images: Tensor, mask: Tensor | None, targets: Any | None) -> None:
    """Check that there are masks or will be, and warn where a task lacks its targets.

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
    if mask is None and not options.schedule.mask:
        check_learned(options.mask_generator, companions.mask_optimizer)
    own = mask is None and options.mask_generator not in MASK_GENERATOR_NAMES
    if own and (outside := outside_unit_interval(companions.soft_mask(images[:1]))):
        low, high = outside
        raise ValueError(
            f"the mask generator {type(companions.mask_generator).__name__} made values over [{low:.3g}, "
            f"{high:.3g}], expected masks in [0, 1]: end it in a sigmoid"
        )
    if targets is None and changes_targets(options.task):
        warnings.warn(
            f"`task` (={options.task!r}) changes targets with the background, but the first batch came without "
            "`targets=`: they stay as they are, and do not say where objects are",
            stacklevel=2,
        )

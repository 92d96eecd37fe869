"""Make a soft mask hard (paper, section III-B)."""

from typing import Literal, get_args

import kornia
import torch
from jaxtyping import Float
from torch import Tensor

Binarization = Literal["otsu", "0.5", "quantile", "none"]

# Otsu separates two groups of values; a mask that is flat up to rounding has only one.
_FLAT = 1e-3


def binarize(
    mask: Float[Tensor, "batch 1 height width"],
    method: Binarization = "otsu",
    *,
    area: float = 0.2,
) -> Float[Tensor, "batch 1 height width"]:
    """Binarise each mask by its own threshold.

    Args:
        mask: foreground in [0, 1].
        method: `otsu` (a flat mask, which has no two groups of values, is compared with 0.5), `0.5`, `quantile` (the
            `1 - area` quantile of each mask, where more of it may have its lowest value, and is none of it) or `none`
            (the mask as it is).
        area: share of the pixels that `quantile` keeps, in (0, 1).

    Returns:
        Masks of zeros and ones of the same dtype, or the soft masks for `none`.

    Raises:
        ValueError: where `method` or `area` is none of these.
    """
    if method not in get_args(Binarization):
        raise ValueError(f"`method` (={method!r}) must be one of {', '.join(get_args(Binarization))}")
    if not 0 < area < 1:
        raise ValueError(f"`area` (={area!r}) must be a share of the pixels in (0, 1)")
    if method == "none":
        return mask
    values = mask.float()
    if method == "0.5":
        return (values >= 0.5).to(mask.dtype)
    if method == "quantile":
        threshold = torch.quantile(values.flatten(1), 1 - area, dim=1)[:, None, None, None]
        # Where most of a mask has its lowest value, that is no foreground; a flat mask has no other.
        low, high = torch.aminmax(values.flatten(1), dim=1)
        at_the_bottom = ((threshold.flatten() == low) & (low < high))[:, None, None, None]
        return torch.where(at_the_bottom, values > threshold, values >= threshold).to(mask.dtype)
    _, threshold = kornia.filters.otsu_threshold(values)
    spread = torch.amax(values, dim=(1, 2, 3)) - torch.amin(values, dim=(1, 2, 3))
    threshold = torch.where(spread > _FLAT, threshold, 0.5)
    return (values > threshold[:, None, None, None]).to(mask.dtype)

"""Where the objects of a studio stand: what a flood from the border does not reach."""

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from scipy import ndimage
from torch import Tensor

from advbg.masks.studio import studio_color

# How far from the studio's colour a pixel still is background, in each channel.
_TOLERANCE = 15
# Images that are compared in floating point at once.
_BATCH_SIZE = 64


def flooded_silhouettes(pixels: UInt8[Tensor, "count 3 height width"]) -> Bool[Tensor, "count 1 height width"]:
    """Find objects before plain backgrounds, to rate masks by and to put objects before unseen backgrounds.

    The background is what has the colour of the image's border (its median) within 15 of 255 levels and is connected
    with the border; everything else is object, shadows and holes within it included.

    Args:
        pixels: on the CPU.
    """
    flooded = [_flooded(image) for batch in pixels.split(_BATCH_SIZE) for image in _is_plain(batch)]
    return torch.from_numpy(~np.stack(flooded))[:, None]


def _is_plain(pixels: Tensor) -> np.ndarray:
    difference = (pixels.float() - studio_color(pixels.float())).abs().amax(dim=1)
    return (difference <= _TOLERANCE).numpy()


def _flooded(plain: np.ndarray) -> np.ndarray:
    labels = np.zeros(plain.shape, dtype=np.int32)
    ndimage.label(plain, output=labels)
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.setdiff1d(frame, [0]))

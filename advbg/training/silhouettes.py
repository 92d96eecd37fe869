"""Where the objects of a studio stand: what a flood from the border does not reach."""

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from scipy import ndimage
from torch import Tensor

from advbg.masks.objectives import studio_color

# How far from the studio's colour a pixel still is background, in each channel.
_TOLERANCE = 15


def flooded_silhouettes(pixels: UInt8[Tensor, "count 3 height width"]) -> Bool[Tensor, "count 1 height width"]:
    """Find objects before plain backgrounds, to rate masks by and to put objects before unseen backgrounds.

    The background is what has the colour of the image's border (its median) within 15 of 255 levels and is connected
    with the border; everything else is object, shadows and holes within it included.

    Args:
        pixels: on the CPU.
    """
    difference = (pixels.float() - studio_color(pixels.float())).abs().amax(dim=1)
    plain = (difference <= _TOLERANCE).numpy()
    return torch.from_numpy(np.stack([~_connected_with_border(image) for image in plain]))[:, None]


def _connected_with_border(plain: np.ndarray) -> np.ndarray:
    labels = np.zeros(plain.shape, dtype=np.int32)
    ndimage.label(plain, output=labels)
    frame = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.isin(labels, np.setdiff1d(frame, [0]))

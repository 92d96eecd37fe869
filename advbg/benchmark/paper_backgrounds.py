"""How other backgrounds are put behind objects, as in the paper (section IV-A)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from skimage.morphology import disk
from torch import Tensor

# Images dilated at a time, to keep memory small.
_CHUNK = 1000


def dilated_silhouettes(
    images: Float[Tensor, "batch channel height width"], radius: int = 2
) -> Bool[Tensor, "batch 1 height width"]:
    """Where an object is: every pixel above 0 in any channel, dilated by a disk.

    Args:
        images: pixels in [0, 1] on black.
        radius: of the disk, in pixels.
    """
    footprint = torch.from_numpy(disk(radius)).to(images.device, torch.float32)[None, None]
    silhouettes = (images > 0).any(dim=1, keepdim=True).float()
    return torch.cat([F.conv2d(chunk, footprint, padding=radius) > 0.5 for chunk in silhouettes.split(_CHUNK)])


def replace_background(
    images: Float[Tensor, "batch channel height width"],
    silhouettes: Bool[Tensor, "batch 1 height width"],
    background: Float[Tensor, "height width"],
) -> Float[Tensor, "batch channel height width"]:
    """Put one background behind every object.

    Args:
        images: pixels in [0, 1].
        silhouettes: from `dilated_silhouettes`; what is outside takes the background's value.
        background: pixels in [0, 1].
    """
    return torch.where(silhouettes, images, background.to(images))

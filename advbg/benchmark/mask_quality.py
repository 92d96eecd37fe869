"""How well learned masks find the objects."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import ndimage
from torch import Tensor
from torchmetrics.functional.classification import binary_recall
from torchmetrics.functional.segmentation import mean_iou

from advbg.companions import Companions
from advbg.masks.learning import check_learned

_BATCH_SIZE = 100


@dataclass(frozen=True)
class MaskQuality:
    """Means over images.

    Attributes:
        iou: intersection over union of mask and object, in [0, 1].
        recall: share of the object that the mask covers, in [0, 1].
        area: share of the image that the mask covers, in [0, 1].
    """

    iou: float
    recall: float
    area: float


def filled_silhouettes(images: Float[Tensor, "batch channel height width"]) -> Bool[Tensor, "batch 1 height width"]:
    """Where an object on black is: every pixel above 0 in any channel, and the holes within.

    Args:
        images: pixels in [0, 1] on black.
    """
    silhouettes = (images > 0).any(dim=1).cpu().numpy()
    filled = [np.asarray(ndimage.binary_fill_holes(silhouette), dtype=bool) for silhouette in silhouettes]
    return torch.from_numpy(np.stack(filled))[:, None].to(images.device)


def rate_masks(
    masks: Bool[Tensor, "batch 1 height width"], silhouettes: Bool[Tensor, "batch 1 height width"]
) -> MaskQuality:
    """Compare masks with silhouettes.

    Args:
        masks: what was found.
        silhouettes: what is there; none empty.
    """
    overlap = mean_iou(masks.long(), silhouettes.long(), num_classes=1, include_background=True)
    recall = binary_recall(masks, silhouettes, multidim_average="samplewise")
    return MaskQuality(overlap.mean().item(), recall.mean().item(), masks.float().mean().item())


def rate_companions(companions: Companions, images: Float[Tensor, "batch channel height width"]) -> MaskQuality:
    """Compare what companions composite with (their binarised masks, without a halo) with filled silhouettes.

    Args:
        companions: with a mask generator that has learned.
        images: pixels in [0, 1] on black, as the companions' model takes them.

    Raises:
        ValueError: where the library's own mask generator has learned nothing, as where masks came with the images of
            the training.
    """
    companions.build(images)
    check_learned(companions.options.mask_generator, companions.mask_optimizer)
    masks = torch.cat([companions.foreground(batch) for batch in images.split(_BATCH_SIZE)])
    return rate_masks(masks > 0.5, filled_silhouettes(images))

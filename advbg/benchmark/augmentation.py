"""The paper's augmentation of training images (section IV)."""

import albumentations as A
import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Degrees of rotation, share of the side shifted, degrees of shear, and factors of brightness, as the authors ran it.
_ROTATION = (-15.0, 15.0)
_SHIFT = (-0.15, 0.15)
_SHEAR = (-0.3, 0.3)
_BRIGHTNESS = (0.8, 1.2)


class PaperAugmentation:
    """Rotation, shift, shear, horizontal flip and brightness, another draw for every image.

    Args:
        seed: the same seed gives the same draws.
    """

    def __init__(self, seed: int) -> None:
        self._transform = A.Compose(
            [
                A.Affine(
                    rotate=_ROTATION,
                    translate_percent=_SHIFT,
                    shear=_SHEAR,
                    border_mode=cv2.BORDER_CONSTANT,
                    fill=0,
                    p=1.0,
                ),
                A.HorizontalFlip(p=0.5),
                A.MultiplicativeNoise(multiplier=_BRIGHTNESS, p=1.0),
            ],
            seed=seed,
        )

    def __call__(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Augment images.

        Args:
            images: pixels in [0, 1] on black, on the CPU.

        Returns:
            Pixels in [0, 1]; what a shift or rotation uncovers is black.
        """
        arrays = images.permute(0, 2, 3, 1).numpy()
        augmented = np.stack([self._transform(image=image)["image"] for image in arrays])
        return torch.from_numpy(augmented).permute(0, 3, 1, 2).contiguous()

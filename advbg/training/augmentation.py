"""Mild augmentation of batches: images are mirrored, zoomed and shifted a little at random."""

import kornia.augmentation as kornia
from jaxtyping import Bool, Float
from torch import Tensor

_SCALE = (0.85, 1.15)
_SHIFT = (0.1, 0.1)


class MildAugmentation:
    """Mirrors some of the images, zooms by 0.85 to 1.15 and shifts by a tenth; the border goes on where that shows.

    It draws from the global random stream, which `fit` seeds anew for every epoch.

    Args:
        hflip: share of the images that are mirrored, in [0, 1].
    """

    def __init__(self, hflip: float = 0.5) -> None:
        self.transforms = kornia.AugmentationSequential(
            kornia.RandomHorizontalFlip(p=hflip),
            kornia.RandomAffine(degrees=0.0, translate=_SHIFT, scale=_SCALE, padding_mode="border", p=1.0),
            data_keys=None,
        )

    def __call__(
        self,
        images: Float[Tensor, "batch 3 height width"],
        silhouettes: Bool[Tensor, "batch 1 height width"] | None,
    ) -> tuple[Float[Tensor, "batch 3 height width"], Bool[Tensor, "batch 1 height width"] | None]:
        """Change images, and silhouettes with them.

        Args:
            images: pixels in [0, 1].
            silhouettes: where the objects are, if that is known.
        """
        if silhouettes is None:
            return self.transforms({"input": images})["input"].clamp(0, 1), None
        changed = self.transforms({"input": images, "mask": silhouettes.float()})
        return changed["input"].clamp(0, 1), changed["mask"] > 0.5

"""One background for every image."""

import torch
import torchvision.transforms.v2.functional as transforms
from jaxtyping import Float
from torch import Tensor

from advbg.pixel_space import outside_unit_interval


class FixedImage:
    """The same picture behind every object, resized to the images.

    Args:
        pixels: the picture in [0, 1]; one of a single channel serves images of any number of channels.

    Raises:
        ValueError: where `pixels` leave [0, 1].
    """

    def __init__(self, pixels: Float[Tensor, "channel height width"]) -> None:
        if outside := outside_unit_interval(pixels):
            raise ValueError("`pixels` range over [{:.5g}, {:.5g}], expected [0, 1]".format(*outside))
        self.pixels = pixels.float().clamp(0, 1)

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Repeat the picture.

        Raises:
            ValueError: where it has another number of channels than the images, and not 1.
        """
        channels, height, width = shape
        if len(self.pixels) not in (1, channels):
            raise ValueError(
                f"the fixed background has {len(self.pixels)} channels, but the images have {channels}: "
                f"give one of {channels} or of 1"
            )
        pixels = self.pixels.to(generator.device)
        if pixels.shape[-2:] != (height, width):
            # Interpolation rounds a white pixel to just above 1.
            pixels = transforms.resize(pixels, [height, width], antialias=True).clamp(0, 1)
        return pixels.expand(count, channels, height, width)

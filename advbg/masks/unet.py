"""U-Net mask generators (paper, section III-B)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from advbg.masks.studio import studio_difference

# Masks of large images are made at 64 pixels, where more levels would halve a single pixel.
_LARGEST_SIDE = 128


class UNet(nn.Module):
    """A small U-Net from pixels to a foreground mask.

    The default differs from the paper's in three ways, all for speed or sharper edges: half the filters, a first
    convolution of stride 2, and a last convolution that sees the pixels again.

    Args:
        channels: channels of the images.
        depth: how often the image is halved after the first convolution.
        filters: filters of the first level; each level doubles them.

    Raises:
        ValueError: where an argument is under 1.
    """

    learning_rate = 1e-3

    def __init__(self, channels: int, depth: int, filters: int = 16) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("depth", depth), ("filters", filters)):
            if value < 1:
                raise ValueError(f"`{name}` (={value}) must be 1 or more")
        widths = [filters * 2**level for level in range(depth + 1)]
        self.stem = nn.Conv2d(channels, filters, 3, stride=2, padding=1)
        self.down = nn.ModuleList(_convolution(widths[i], widths[i + 1]) for i in range(depth))
        self.up = nn.ModuleList(_convolution(widths[i + 1] + widths[i], widths[i]) for i in reversed(range(depth)))
        self.refine = _convolution(filters + channels, filters)
        self.head = nn.Conv2d(filters, 1, 1)

    @classmethod
    def for_size(cls, channels: int, height: int, width: int) -> "UNet":
        """The default depth for images of this size: the smallest level has 4 pixels a side, or 2 of large images."""
        return cls(channels, depth=max(1, _levels(height, width) - 1))

    def forward(self, pixels: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Say how much each pixel belongs to the foreground.

        Args:
            pixels: images in [0, 1] of any height and width.

        Returns:
            Masks in [0, 1].
        """
        features = F.relu(self.stem(pixels))
        skips = []
        for convolution in self.down:
            skips.append(features)
            features = F.relu(convolution(F.max_pool2d(features, 2, ceil_mode=True)))
        for convolution in self.up:
            skip = skips.pop()
            features = torch.cat([F.interpolate(features, size=skip.shape[-2:]), skip], dim=1)
            features = F.relu(convolution(features))
        features = torch.cat([F.interpolate(features, size=pixels.shape[-2:]), pixels], dim=1)
        return torch.sigmoid(self.head(F.relu(self.refine(features))))


class StudioUNet(UNet):
    """The U-Net that also sees how far each pixel is from the colour of its image's border.

    Before a plain background that is most of the answer, so that short trainings learn masks; before any other it is
    one more channel.

    Args:
        channels: channels of the images.
        depth: as for `UNet`.
        filters: as for `UNet`.

    Raises:
        ValueError: as for `UNet`.
    """

    def __init__(self, channels: int, depth: int, filters: int = 16) -> None:
        if channels < 1:
            raise ValueError(f"`channels` (={channels}) must be 1 or more")
        super().__init__(channels + 1, depth, filters)

    def forward(self, pixels: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Say how much each pixel belongs to the foreground; arguments as for `UNet`."""
        return super().forward(torch.cat([pixels, studio_difference(pixels)], dim=1))


class PaperUNet(nn.Module):
    """The paper's U-Net: 32·2^i filters, max-pooling, nearest up-sampling, concatenated skips, 1x1 head.

    Args:
        channels: channels of the images.
        depth: how often the image is halved; the paper has log2(size / 4).
    """

    learning_rate = 1e-5

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        widths = [32 * 2**level for level in range(depth)]
        inputs = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_convolution(*sizes) for sizes in zip(inputs, widths, strict=True))
        self.bottom = _convolution(widths[-1], widths[-1])
        below = [widths[-1], *(2 * width for width in reversed(widths[1:]))]
        self.up = nn.ModuleList(_convolution(*sizes) for sizes in zip(below, reversed(widths), strict=True))
        self.head = nn.Conv2d(2 * widths[0], 1, 1)

    @classmethod
    def for_size(cls, channels: int, height: int, width: int) -> "PaperUNet":
        """The paper's depth for images of this size, of up to 128 pixels: masks are made at 64 at most."""
        return cls(channels, depth=_levels(height, width))

    def forward(self, pixels: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
        """Say how much each pixel belongs to the foreground; pixels and masks in [0, 1]."""
        features, skips = pixels, []
        for convolution in self.down:
            features = F.relu(convolution(features))
            skips.append(features)
            features = F.max_pool2d(features, 2, ceil_mode=True)
        features = F.relu(self.bottom(features))
        for convolution in self.up:
            skip = skips.pop()
            features = F.relu(convolution(F.interpolate(features, size=skip.shape[-2:])))
            features = torch.cat([features, skip], dim=1)
        return torch.sigmoid(self.head(features))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _levels(height: int, width: int) -> int:
    side = min(max(min(height, width), 8), _LARGEST_SIDE)
    return int(math.log2(side / 4))

"""The paper's background generator (section III-C)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from advbg.backgrounds.population import join_tiles
from advbg.backgrounds.protocol import TrainableSource

_TILES = 2
_LATENT_SIDE = 4


class PaperGenerator(TrainableSource):
    """One generator for the whole training: a 2x2 mosaic, each tile from its own 4·4·channels normals.

    Noise reshaped to 4x4, conv3x3 + LeakyReLU(0.2), then [nearest x2, conv3x3 + LeakyReLU] halving the filters down to
    32, then 1x1 conv + sigmoid; Adam 1e-5.

    Args:
        channels: channels of the backgrounds.
        height: of the images, in pixels; with `width` it fixes the depth.
        width: of the images, in pixels.
        generator: draws the weights.
    """

    learning_rate = 1e-5

    def __init__(self, channels: int, height: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.channels = channels
        doublings = max(0, math.ceil(math.log2(max(height, width) / (_TILES * _LATENT_SIDE))))
        widths = [32 * 2**level for level in range(doublings, -1, -1)]
        sizes = zip([channels, *widths[:-1]], widths, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(*size, 3, padding=1) for size in sizes)
        self.head = nn.Conv2d(widths[-1], channels, 1)
        for module in (*self.convolutions, self.head):
            # Keras's defaults, which the authors used: Glorot-uniform weights, zero biases.
            nn.init.xavier_uniform_(module.weight, generator=generator)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(module.bias)  # pyright: ignore[reportArgumentType]

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make mosaics in [0, 1]; sizes that 4 · 2^i tiles do not fill exactly are cropped, larger ones enlarged."""
        _, height, width = shape
        latent = (count * _TILES**2, self.channels, _LATENT_SIDE, _LATENT_SIDE)
        features = torch.randn(latent, generator=generator, device=generator.device)
        features = F.leaky_relu(self.convolutions[0](features), 0.2)
        for convolution in self.convolutions[1:]:
            features = F.leaky_relu(convolution(F.interpolate(features, scale_factor=2)), 0.2)
        mosaics = torch.sigmoid(join_tiles(self.head(features), _TILES))
        if max(height, width) > mosaics.shape[-1]:
            mosaics = F.interpolate(mosaics, 2 * [max(height, width)], mode="bilinear").clamp(0, 1)
        return mosaics[..., :height, :width]

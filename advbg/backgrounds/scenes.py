"""Made-up scenes with the statistics of photographs, for images in colour."""

import math

import kornia
import torch
from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds.pieces import fill
from advbg.random_numbers import draw_number

_LARGEST_SIDE = 64
_LEAVES = 48
# Exponents of |x|ᵖ + |y|ᵖ < 1: from diamonds over discs to boxes.
_ROUNDNESS = (1.0, 2.0, 8.0)
# Of the falling spectrum's amplitude, 1 over frequency to this power; photographs lie about 1.
_STEEPEST = 2.0
_BLUR_KERNEL, _STRONGEST_BLUR = 17, 4.0


class Scenes:
    """Clouds and dead leaves, half and half: what photographs have and noise has not.

    Clouds have the amplitudes of natural images, which fall with the frequency (Ruderman and Bialek 1994). Dead leaves
    are things of all sizes that hide each other, each with a colour and a texture of its own: edges, corners and
    occlusion (Lee, Mumford and Huang 2001; networks learn from them nearly what they learn from photographs, Baradad et
    al. 2021). Half of all are out of focus. Brightness varies more than colour does, as it does outdoors.
    """

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make scenes in [0, 1], at up to 64 pixels a side and enlarged, more or less."""
        channels, height, width = shape
        shrink = max(1.0, max(height, width) / _LARGEST_SIDE)
        rows, columns = math.ceil(height / shrink), math.ceil(width / shrink)
        scenes = _clouds(count, (channels, rows, columns), generator)
        leafy = _half(count, generator)
        if leafy:
            scenes = torch.cat([_dead_leaves(scenes[:leafy], generator), scenes[leafy:]])
        scenes = torch.sigmoid(
            _contrast(count, generator) * scenes + _colours((count, channels), generator)[..., None, None]
        )
        scenes = _out_of_focus(scenes, generator)
        scenes = scenes[torch.randperm(count, generator=generator, device=generator.device)]
        return scenes if shrink == 1 else fill(scenes, (height, width), generator)


def _clouds(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Noise whose amplitude falls with the frequency, of mean 0 and variance 1 in each image."""
    channels, height, width = shape
    device = generator.device
    vertical = torch.fft.fftfreq(height, device=device)[:, None]
    horizontal = torch.fft.rfftfreq(width, device=device)
    frequency = torch.hypot(vertical, horizontal).clamp_min(1 / max(height, width))
    steepness = _STEEPEST * torch.rand((count, 1, 1, 1), generator=generator, device=device)
    noise = _colours((count, channels, height, width), generator)
    clouds = torch.fft.irfft2(torch.fft.rfft2(noise) * frequency**-steepness, s=(height, width))
    variance, mean = torch.var_mean(clouds, dim=(1, 2, 3), keepdim=True, correction=0)
    return (clouds - mean) * torch.rsqrt(variance + 1e-6)


def _dead_leaves(textures: Tensor, generator: torch.Generator) -> Tensor:
    """Things of all sizes upon each other, before and with the textures."""
    count, channels, height, width = textures.shape
    device = generator.device

    def draw(*size: int) -> Tensor:
        return torch.rand((count, _LEAVES, *size), generator=generator, device=device)

    # Sizes whose frequency falls with the third power look alike at every distance; a scene has a smallest of its own.
    largest = max(height, width) / 2
    closeness = torch.rand((count, 1, 1, 1), generator=generator, device=device)
    smallest = 2.0 * (largest / 4) ** closeness
    radius = (largest**-2 + draw(1, 1) * (smallest**-2 - largest**-2)) ** -0.5
    stretch, angle = 2 ** (2 * draw(1, 1) - 1), math.pi * draw(1, 1)
    diamond, disc, box = _ROUNDNESS
    shape = len(_ROUNDNESS) * draw(1, 1)
    exponent = torch.where(shape < 1, diamond, torch.where(shape < 2, disc, box))
    row = torch.arange(height, device=device)[:, None] - height * draw(1, 1)
    column = torch.arange(width, device=device) - width * draw(1, 1)
    along = (row * angle.cos() + column * angle.sin()).abs() / (radius * stretch)
    across = (column * angle.cos() - row * angle.sin()).abs() / (radius / stretch)
    inside = along**exponent + across**exponent < 1
    # The last leaf that covers a pixel is on top; where none does, the ground shows.
    number = torch.arange(1, _LEAVES + 1, device=device)[:, None, None]
    top = (inside * number).amax(dim=1).flatten(1)
    palette = _colours((count, channels, _LEAVES + 1), generator)
    colour = palette.gather(2, top[:, None].expand(-1, channels, -1)).unflatten(2, (height, width))
    roughness = torch.rand((count, _LEAVES + 1), generator=generator, device=device)
    roughness = roughness.gather(1, top).unflatten(1, (height, width))[:, None]
    return colour + roughness * textures


def _colours(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Normals of variance 1 whose second dimension, the channels, is mostly alike."""
    chroma = torch.rand((shape[0], *(1 for _ in shape[1:])), generator=generator, device=generator.device) ** 2
    shared = torch.randn((shape[0], 1, *shape[2:]), generator=generator, device=generator.device)
    own = torch.randn(shape, generator=generator, device=generator.device)
    return (1 - chroma).sqrt() * shared + chroma.sqrt() * own


def _half(count: int, generator: torch.Generator) -> int:
    """Of an odd number now the smaller, now the larger half, so that images that come one by one have their share."""
    return math.floor(count / 2 + draw_number(generator))


def _contrast(count: int, generator: torch.Generator) -> Tensor:
    """Over one decade about 1."""
    return 10 ** (torch.rand((count, 1, 1, 1), generator=generator, device=generator.device) - 0.5)


def _out_of_focus(scenes: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the scenes, each by its own amount."""
    half = _half(len(scenes), generator)
    if not half:
        return scenes
    # Clouds and leaves lie side by side: every second image has both among the blurred.
    places = torch.arange(0, 2 * half, 2, device=scenes.device)
    blurred = scenes[places]
    strength = 0.5 + _STRONGEST_BLUR * torch.rand((half, 1), generator=generator, device=generator.device)
    blurred = kornia.filters.gaussian_blur2d(blurred, _BLUR_KERNEL, strength.expand(-1, 2), "replicate")
    return scenes.index_copy(0, places, blurred)

"""A population of small, short-lived background generators."""

import math
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from advbg.backgrounds.pieces import fill
from advbg.backgrounds.protocol import TrainableSource
from advbg.backgrounds.sampling import sample_mirrored

# (how often the noise is doubled in size, tiles a side, whether it is made of straight lines): from blobs to single
# pixels, whole and as mosaics. The last `CLIMBING` climb.
SPECIES = (
    (3, 1, False),
    (0, 1, False),
    (2, 2, False),
    (1, 4, False),
    (1, 1, True),
    (2, 1, True),
    (1, 1, False),
    (2, 1, False),
)
CLIMBING = 2

# Optimiser steps from birth to death. Longer lives cycle: the model forgets what an adversary left behind.
LIFETIME = 40

# Optimiser steps from one climb to the next. A gradient for the model's input costs a tenth of a small model's step.
CLIMB_EVERY = 4

_LATENT_CHANNELS = 4
_HIDDEN_CHANNELS = 16
_BRIGHTNESS_SPREAD = 1.5
_LARGEST_SIDE = 64


class BackgroundGenerator(nn.Module):
    """One small convolutional generator from noise to backgrounds.

    Each image is standardised before the sigmoid and gets a contrast and a brightness of its own, so that no training
    can turn the generator flat, black or white.

    Args:
        channels: channels of the backgrounds.
        doublings: how often nearest up-sampling doubles the noise, 0 or more; 0 varies from pixel to pixel.
        tiles: the background is a mosaic of `tiles` x `tiles` pieces, each from its own noise.
        straight: whether it varies along one random direction only: lines and stripes of all widths.
    """

    def __init__(self, channels: int, doublings: int, tiles: int, straight: bool = False) -> None:
        super().__init__()
        self.channels, self.doublings, self.tiles, self.straight = channels, doublings, tiles, straight
        self.kind = (doublings, tiles, straight)
        inputs = [_LATENT_CHANNELS] + [_HIDDEN_CHANNELS] * doublings
        self.convolutions = nn.ModuleList(nn.Conv2d(count, _HIDDEN_CHANNELS, 3, padding=1) for count in inputs)
        self.head = nn.Conv2d(_HIDDEN_CHANNELS, channels, 1)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw all weights anew."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                nn.init.normal_(module.bias, std=0.1, generator=generator)  # pyright: ignore[reportArgumentType]

    def forward(
        self, count: int, height: int, width: int, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds in [0, 1]."""
        return self.paint(self.draw_noise(count, height, width, generator), height, width, generator)

    def draw_noise(
        self, count: int, height: int, width: int, generator: torch.Generator
    ) -> Float[Tensor, "pieces latent rows columns"]:
        """Draw what `paint` turns into so many backgrounds: normals, one piece for each of their tiles."""
        coarse = self.tiles * 2**self.doublings
        sides = (math.hypot(height, width), 1) if self.straight else (height, width)
        shape = (count * self.tiles**2, _LATENT_CHANNELS, *(math.ceil(side / coarse) for side in sides))
        return torch.randn(shape, generator=generator, device=generator.device)

    def paint(
        self, noise: Float[Tensor, "pieces latent rows columns"], height: int, width: int, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Turn noise into backgrounds in [0, 1], each with a contrast and a brightness drawn by `generator`."""
        features = F.leaky_relu(self.convolutions[0](noise), 0.2)
        for convolution in self.convolutions[1:]:
            features = F.leaky_relu(convolution(F.interpolate(features, scale_factor=2)), 0.2)
        mosaic = join_tiles(self.head(features), self.tiles)
        mosaic = _sweep(mosaic, height, width, generator) if self.straight else mosaic[..., :height, :width]
        variance, mean = torch.var_mean(mosaic, dim=(1, 2, 3), keepdim=True, correction=0)
        standardised = (mosaic - mean) * torch.rsqrt(variance + 1e-6)
        shape, device = (len(mosaic), 1, 1, 1), generator.device
        contrast = 10 ** (2 * torch.rand(shape, generator=generator, device=device) - 1)
        brightness = torch.randn((len(mosaic), self.channels, 1, 1), generator=generator, device=device)
        return torch.sigmoid(contrast * standardised + _BRIGHTNESS_SPREAD * brightness)


class GeneratorPopulation(TrainableSource):
    """The default source: generators of several kinds, most of them drawn anew in every step, some climbing the loss.

    One generator trained for long turns flat or white, or runs in circles with the model; a population stays diverse.
    Those that climb live shortly; all others are random, which is as good and costs less (`docs/` has the figures).

    Args:
        channels: channels of the backgrounds.
        generator: draws the first weights.
        species: (doublings, tiles, straight) of each member.
        climbing: how many members climb, the last ones of `species`; with 0 it is the `random` source.
        lifetime: optimiser steps from birth to death of those that climb, which are born apart from each other.
        climb_every: they climb in every so many steps; in the others nothing is differentiated for them.
        learning_rate: Adam's.

    Raises:
        ValueError: where `lifetime` or `climb_every` is under 1, or `climbing` is not from 0 to the number of members.
    """

    def __init__(
        self,
        channels: int,
        generator: torch.Generator,
        *,
        species: Sequence[tuple[int, int, bool]] = SPECIES,
        climbing: int = CLIMBING,
        lifetime: int = LIFETIME,
        climb_every: int = CLIMB_EVERY,
        learning_rate: float = 3e-3,
    ) -> None:
        super().__init__()
        for name, steps in (("lifetime", lifetime), ("climb_every", climb_every)):
            if steps < 1:
                raise ValueError(f"`{name}` (={steps}) must be 1 step or more")
        if not 0 <= climbing <= len(species):
            raise ValueError(f"`climbing` (={climbing}) must be from 0 to the {len(species)} members")
        self.climbing, self.lifetime = climbing, lifetime
        self.climb_every, self.learning_rate = climb_every, learning_rate
        self.members = nn.ModuleList(BackgroundGenerator(channels, *kind) for kind in species)
        for index, member in enumerate(self.members):
            member.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
            member.requires_grad_(self._climbs(index))
        self.age = 0

    def _climbs(self, index: int) -> bool:
        return index >= len(self.members) - self.climbing

    def get_extra_state(self) -> dict[str, int]:
        """What a state dict keeps beside the weights: the optimiser steps lived through."""
        return {"age": self.age}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take the age from a state dict."""
        self.age = state["age"]

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds in [0, 1], shared out evenly over the members.

        Images over 64 pixels a side get backgrounds made at up to 64 and enlarged, more or less.
        """
        _, height, width = shape
        shrink = max(1.0, max(height, width) / _LARGEST_SIDE)
        rows, columns = math.ceil(height / shrink), math.ceil(width / shrink)
        order = self._order(count)
        shares = [len(range(place, count, len(order))) for place in range(len(order))]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.age % self.climb_every == 0):
            made = [
                self.members[index](share, rows, columns, generator)
                for index, share in zip(order, shares, strict=True)
                if share
            ]
        # Shuffled, so that images beside each other, as in class-sorted batches, do not share a kind of background.
        backgrounds = torch.cat(made)[torch.randperm(count, generator=generator, device=generator.device)]
        return backgrounds if shrink == 1 else fill(backgrounds, (height, width), generator)

    def _order(self, count: int) -> list[int]:
        """Who makes the first background, the second and so on; another one in every step, so that all have their turn.

        Where there are fewer backgrounds than members, those that climb begin in the steps in which they do.
        """
        size, climbs_so_far = len(self.members), self.age // self.climb_every
        if count >= size or not self.climbing:
            return _rotated(range(size), self.age)
        if self.age % self.climb_every == 0:
            others = size - self.climbing
            return _rotated(range(others, size), climbs_so_far) + _rotated(range(others), climbs_so_far)
        return _rotated(range(size), self.age - climbs_so_far - 1)

    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter]:
        """Draw the members anew that do not climb, and those whose time has come."""
        self.age += 1
        born = []
        for index, member in enumerate(self.members):
            if not self._climbs(index):
                member.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
            elif (self.age + index * self.lifetime // len(self.members)) % self.lifetime == 0:
                member.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
                born.extend(member.parameters())
        return born


def _rotated(members: range, by: int) -> list[int]:
    return [members[(place + by) % len(members)] for place in range(len(members))]


def _sweep(profiles: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Move the first column of each image sideways along a random direction."""
    angle = math.pi * torch.rand((len(profiles), 1, 1), generator=generator, device=generator.device)
    rows = torch.arange(height, device=generator.device)[:, None] - (height - 1) / 2
    columns = torch.arange(width, device=generator.device) - (width - 1) / 2
    along = (rows * angle.cos() + columns * angle.sin()) / (profiles.shape[2] / 2)
    places = torch.stack([torch.zeros_like(along), along], dim=-1)
    return sample_mirrored(profiles[..., :1], places)


def join_tiles(pieces: Tensor, tiles: int) -> Tensor:
    """Lay `tiles` x `tiles` consecutive pieces out as one image."""
    if tiles == 1:
        return pieces
    count, channels, rows, columns = pieces.shape
    grid = pieces.view(count // tiles**2, tiles, tiles, channels, rows, columns)
    return grid.permute(0, 3, 1, 4, 2, 5).reshape(count // tiles**2, channels, tiles * rows, tiles * columns)

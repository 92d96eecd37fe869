"""Perlin noise as backgrounds: `AdversarialBackground(model, background="perlin")`."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from pyfastnoiselite.pyfastnoiselite import FastNoiseLite, NoiseType
from torch import Tensor

from advbg import hookimpl

# Checked when the plugin is loaded: see "Versions" in advbg's docs/hooks.md.
advbg_hook_version = 1

_SMALLEST_BLOB, _LARGEST_BLOB = 2.0, 16.0


class Perlin:
    """Smooth noise with blobs of 2 to 16 pixels, other ones in each channel."""

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Make pixels in [0, 1], drawn from `generator` alone."""
        channels, height, width = shape
        draws = torch.rand((count, 2), generator=generator, device=generator.device).cpu().tolist()
        # Channels lie so far apart that they have nothing to do with one another.
        depth, down, across = np.mgrid[0 : 1000 * channels : 1000, 0:height, 0:width].astype(np.float32).reshape(3, -1)
        images = []
        for seed, size in draws:
            noise = FastNoiseLite(int(seed * 2**31))
            noise.noise_type = NoiseType.NoiseType_Perlin
            noise.frequency = 1 / (_SMALLEST_BLOB * (_LARGEST_BLOB / _SMALLEST_BLOB) ** size)
            images.append(noise.gen_from_coords(np.stack([across, down, depth])).reshape(shape))
        return torch.from_numpy(np.stack(images)).add(1).div(2).clamp(0, 1).to(generator.device)


@hookimpl
def advbg_background_sources() -> Mapping[str, Callable[..., Perlin]]:
    """Add the source under its name."""
    return {"perlin": lambda shape, generator: Perlin()}

"""Sources of backgrounds behind one protocol."""

import torch

from advbg.backgrounds.paper import PaperGenerator
from advbg.backgrounds.photographs import Photographs
from advbg.backgrounds.plain import Black, Noise
from advbg.backgrounds.population import GeneratorPopulation
from advbg.backgrounds.protocol import BackgroundSource, TrainableSource

# Named sources that need nothing but the images' shape; photographs need a folder: `Photographs(folder)`.
SOURCE_NAMES = ("adversarial", "random", "paper", "noise", "black")


def make_source(name: str, shape: tuple[int, int, int], generator: torch.Generator) -> BackgroundSource:
    """Make a source by its name.

    Args:
        name: one of `SOURCE_NAMES`.
        shape: channels, height and width of the images.
        generator: draws the first weights.

    Raises:
        ValueError: where the name is none of these.
    """
    channels, height, width = shape
    if name == "adversarial":
        return GeneratorPopulation(channels, generator)
    if name == "random":
        return GeneratorPopulation(channels, generator, climbing=0)
    if name == "paper":
        return PaperGenerator(channels, height, width, generator)
    if name == "noise":
        return Noise()
    if name == "black":
        return Black()
    raise ValueError(f"`background` (={name!r}) must be one of {', '.join(SOURCE_NAMES)}, or a source of your own")


__all__ = [
    "SOURCE_NAMES",
    "BackgroundSource",
    "Black",
    "GeneratorPopulation",
    "Noise",
    "PaperGenerator",
    "Photographs",
    "TrainableSource",
    "make_source",
]

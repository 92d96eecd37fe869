"""Sources of backgrounds behind one protocol."""

import torch

from advbg.backgrounds.paper import PaperGenerator
from advbg.backgrounds.photographs import Photographs
from advbg.backgrounds.plain import Black, Noise
from advbg.backgrounds.population import GeneratorPopulation
from advbg.backgrounds.protocol import BackgroundSource, TrainableSource, sample_for
from advbg.hooks import factories

# Named sources that need nothing but the images' shape; photographs need a folder: `Photographs(folder)`.
SOURCE_NAMES = ("adversarial", "random", "paper", "noise", "black")


def source_names() -> tuple[str, ...]:
    """The library's own sources and those that plugins add."""
    return (*SOURCE_NAMES, *factories("advbg_background_sources", SOURCE_NAMES))


def make_source(name: str, shape: tuple[int, int, int], generator: torch.Generator) -> BackgroundSource:
    """Make a source by its name.

    Args:
        name: one of `source_names()`.
        shape: channels, height and width of the images.
        generator: draws the first weights.

    Raises:
        ValueError: where the name is none of these.
        TypeError: where what a plugin made is no source.
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
    added = factories("advbg_background_sources", SOURCE_NAMES)
    if name not in added:
        raise ValueError(
            f"`background` (={name!r}) must be one of {', '.join(source_names())}, or a source of your own"
        )
    source = added[name](shape, generator)
    if not isinstance(source, BackgroundSource):
        raise TypeError(
            f"the plugin that adds {name!r} made {source!r}, which has no `sample(count, shape, generator)`"
        )
    return source


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
    "sample_for",
    "source_names",
]

"""What the backgrounds of a wrapper are called: sources by name, folders of photographs, and mixtures of them."""

from collections.abc import Sequence
from pathlib import Path

import torch

from advbg.backgrounds.mixture import Mixture, check_weights
from advbg.backgrounds.paper import PaperGenerator
from advbg.backgrounds.photographs import Photographs, list_images
from advbg.backgrounds.plain import Black, Noise
from advbg.backgrounds.population import GeneratorPopulation
from advbg.backgrounds.protocol import BackgroundSource, TrainableSource
from advbg.backgrounds.scenes import Scenes
from advbg.hooks import factories, left_out

# Named sources that need nothing but the images' shape; photographs need a folder: `Photographs(folder)`.
SOURCE_NAMES = ("adversarial", "random", "scenes", "paper", "noise", "black")

# A name, a source, or (one of these, weight) for each source of a mixture.
Background = str | BackgroundSource | Sequence[tuple[str | BackgroundSource, float]]


def source_names() -> tuple[str, ...]:
    """The library's own sources and those that plugins add."""
    return (*SOURCE_NAMES, *factories("advbg_background_sources", SOURCE_NAMES))


def check_background(background: object) -> None:
    """Check what is to make backgrounds, before there are images.

    Raises:
        TypeError: where it is none of a name, a source and pairs of them with weights.
        ValueError: where a name or a weight is none.
    """
    if isinstance(background, str):
        if background not in source_names():
            raise ValueError(
                f"`background` (={background!r}) must be one of {', '.join(source_names())}, or a source, such as "
                f"`Photographs(folder)`{left_out()}"
            )
    elif isinstance(background, Sequence):
        for pair in background:
            if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
                raise TypeError(f"`background` must mix pairs of a source and its weight, got {pair!r}")
            check_background(pair[0])
        check_weights([weight for _, weight in background])
        own = [id(source) for source, _ in background if isinstance(source, TrainableSource)]
        if len(set(own)) < len(own):
            raise ValueError(
                "`background` mixes a source that learns with itself: give it once, with the sum of weights"
            )
    # A class has the method as well, but nothing to call it on.
    elif isinstance(background, type) or not isinstance(background, BackgroundSource):
        raise TypeError(
            f"`background` (={background!r}) must have a method `sample(count, shape, generator)`, as "
            "`Photographs(folder)` has"
        )


def is_ours(background: Background) -> bool:
    """Whether all of it are the library's own sources, by their names."""
    if isinstance(background, str):
        return background in SOURCE_NAMES
    return isinstance(background, Sequence) and all(is_ours(source) for source, _ in background)


def background_name(background: Background) -> str:
    """What a saved state calls it: its name, the class of a source of one's own, or all of a mixture."""
    if isinstance(background, str):
        return background
    if isinstance(background, Sequence):
        return " + ".join(f"{weight:g} {background_name(source)}" for source, weight in background)
    return getattr(background, "__qualname__", type(background).__qualname__)


def named_background(name: str) -> Background:
    """Read what `background_name` wrote; a mixture of names becomes one again."""
    parts = [part.partition(" ") for part in name.split(" + ")]
    try:
        return [(source, float(weight)) for weight, _, source in parts]
    except ValueError:
        return name


def make_source(background: Background, shape: tuple[int, int, int], generator: torch.Generator) -> BackgroundSource:
    """Make a source by its name.

    Args:
        background: one of `source_names()`, a source, which is returned as it is, or pairs of these and weights.
        shape: channels, height and width of the images.
        generator: draws the first weights.

    Raises:
        ValueError: where a name is none of these.
        TypeError: where what a plugin made is no source.
    """
    if isinstance(background, str):
        return _make_named(background, shape, generator)
    if isinstance(background, Sequence):
        sources = [make_source(source, shape, generator) for source, _ in background]
        return Mixture(sources, [weight for _, weight in background])
    return background


def _make_named(name: str, shape: tuple[int, int, int], generator: torch.Generator) -> BackgroundSource:
    channels, height, width = shape
    if name == "adversarial":
        return GeneratorPopulation(channels, generator)
    if name == "random":
        return GeneratorPopulation(channels, generator, climbing=0)
    if name == "scenes":
        return Scenes()
    if name == "paper":
        return PaperGenerator(channels, height, width, generator)
    if name == "noise":
        return Noise()
    if name == "black":
        return Black()
    check_background(name)
    source = factories("advbg_background_sources", SOURCE_NAMES)[name](shape, generator)
    if not isinstance(source, BackgroundSource):
        raise TypeError(
            f"the plugin that adds {name!r} made {source!r}, which has no `sample(count, shape, generator)`"
        )
    return source


def parse_background(text: str, argument: str) -> Background:
    """Read what a command line says: `adversarial`, a folder of photographs, or `adversarial=2,photographs/folder=1`.

    Args:
        text: names and folders separated by commas, each with `=weight` or of weight 1.
        argument: what the command line calls it, for messages.

    Raises:
        ValueError: where a part is neither a name nor a folder, or a weight is no number over 0.
    """
    if not set(text) & set(",=") or Path(text).is_dir():
        return _parse_source(text, text, argument)
    parts = []
    for part in text.split(","):
        name, _, weight = part.rpartition("=") if "=" in part else (part, "", "1")
        try:
            check_weights([float(weight)])
        except ValueError:
            raise ValueError(f"`{argument}` (={text!r}) has the weight {weight!r}, not a number over 0") from None
        parts.append((_parse_source(name, text, argument), float(weight)))
    return parts


def _parse_source(name: str, text: str, argument: str) -> str | BackgroundSource:
    if name in source_names():
        return name
    if not name or not Path(name).is_dir():  # `Path("")` is the current folder
        where = "" if name == text else f" in {text!r}"
        raise ValueError(
            f"`{argument}` (={name!r}{where}) must be one of {', '.join(source_names())}, or a folder of photographs"
        )
    list_images(name, argument)
    return Photographs(name)

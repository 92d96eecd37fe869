"""Sources of backgrounds behind one protocol."""

from advbg.backgrounds.mixture import Mixture, sample_candidates
from advbg.backgrounds.naming import (
    SOURCE_NAMES,
    Background,
    background_name,
    check_background,
    is_ours,
    make_source,
    parse_background,
    source_names,
)
from advbg.backgrounds.paper import PaperGenerator
from advbg.backgrounds.photographs import Photographs
from advbg.backgrounds.plain import Black, Noise
from advbg.backgrounds.population import GeneratorPopulation
from advbg.backgrounds.protocol import BackgroundSource, TrainableSource, check_range, sample_backgrounds
from advbg.backgrounds.scenes import Scenes

__all__ = [
    "SOURCE_NAMES",
    "Background",
    "BackgroundSource",
    "Black",
    "GeneratorPopulation",
    "Mixture",
    "Noise",
    "PaperGenerator",
    "Photographs",
    "Scenes",
    "TrainableSource",
    "background_name",
    "check_background",
    "check_range",
    "is_ours",
    "make_source",
    "parse_background",
    "sample_backgrounds",
    "sample_candidates",
    "source_names",
]

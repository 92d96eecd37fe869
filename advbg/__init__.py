"""Background invariance by adversarial learning, as a pluggable augmentation for image models."""

from advbg.attachment import Attachment, attach
from advbg.backgrounds import BackgroundSource, Photographs, TrainableSource
from advbg.batch_norm import hold_statistics
from advbg.compositing import CompositeParameters
from advbg.hooks import hookimpl, hookspec, plugin_manager
from advbg.masks import PaperObjective, SufficiencyNecessity
from advbg.schedule import Phase, Schedule
from advbg.wrapper import AdversarialBackground

__version__ = "0.1.0"

__all__ = [
    "AdversarialBackground",
    "Attachment",
    "BackgroundSource",
    "CompositeParameters",
    "PaperObjective",
    "Phase",
    "Photographs",
    "Schedule",
    "SufficiencyNecessity",
    "TrainableSource",
    "__version__",
    "attach",
    "hold_statistics",
    "hookimpl",
    "hookspec",
    "plugin_manager",
]

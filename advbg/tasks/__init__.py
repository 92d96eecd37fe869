"""The built-in tasks: plugins as anybody may write them."""

from advbg.tasks.classification import Classification
from advbg.tasks.detection import Detection
from advbg.tasks.regression import Regression
from advbg.tasks.reinforcement import Reinforcement
from advbg.tasks.segmentation import Segmentation

BUILT_IN_PLUGINS = {
    "classification": Classification(),
    "detection": Detection(),
    "regression": Regression(),
    "reinforcement": Reinforcement(),
    "segmentation": Segmentation(),
}

__all__ = ["BUILT_IN_PLUGINS", "Classification", "Detection", "Regression", "Reinforcement", "Segmentation"]

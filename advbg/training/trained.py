"""Models that `advbg train` has left in files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from advbg.files import load_weights
from advbg.training.models import create_model

HEADER = "advbg_train"


@dataclass(frozen=True)
class TrainedModel:
    """A model with what its file says about it.

    Attributes:
        model: on the CPU, in evaluation mode; its `pretrained_cfg` says how images are normalised.
        classes: their names, in the order of the logits.
        image_size: side of the images in pixels.
        test_fit: how test images became square.
    """

    model: nn.Module
    classes: tuple[str, ...]
    image_size: int
    test_fit: str


def load_trained(file: Path) -> TrainedModel:
    """Read a `model.safetensors` or `best.safetensors`.

    Args:
        file: in the folder of a run, or anywhere else.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged, of something else, or of a model that this timm makes otherwise.
    """
    about, weights = load_weights(file, header=HEADER, kind="model", writer="advbg train")
    classes, size = tuple(about["classes"]), about["image_size"]
    model: Any = create_model(about["model"], len(classes), seed=0, options=about["options"])
    if weights.keys() != model.state_dict().keys():
        # A new classifier, as pre-trained models get one, has fewer layers than the first where that was distilled.
        model.reset_classifier(len(classes))
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"model {str(file)!r} does not hold the weights of {about['model']}: {error}") from error
    # As it was trained, whatever timm says of the name by now.
    model.pretrained_cfg = {**model.pretrained_cfg, "mean": tuple(about["mean"]), "std": tuple(about["std"])}
    return TrainedModel(model.eval(), classes, size, about["test_fit"])

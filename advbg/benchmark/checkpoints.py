"""Trained classifiers as safetensors, with what is needed to build them again in the header."""

from pathlib import Path

import torch
from torch import nn

from advbg.benchmark.attention import AttentionClassifier
from advbg.benchmark.classifier import PaperClassifier
from advbg.files import load_weights, save_weights

_HEADER = "advbg"
_ARCHITECTURES = {kind.__name__: kind for kind in (PaperClassifier, AttentionClassifier)}


def save_classifier(
    model: nn.Module,
    path: Path,
    *,
    dataset: str,
    method: str,
    image_size: int,
    channels: int,
    classes: int,
) -> None:
    """Write a classifier's weights and description.

    Args:
        model: a `PaperClassifier` or an `AttentionClassifier`.
        path: of the file, ending in `.safetensors`.
        dataset: name of what it was trained on.
        method: name of the row.
        image_size: of its images, in pixels.
        channels: of its images.
        classes: how many it tells apart.
    """
    description = {
        "dataset": dataset,
        "method": method,
        "architecture": type(model).__name__,
        "classifier": {"image_size": image_size, "channels": channels, "classes": classes},
    }
    save_weights(model.state_dict(), path, header=_HEADER, description=description)


def load_classifier(
    path: Path, *, dataset: str, image_size: int, channels: int, classes: int
) -> PaperClassifier | AttentionClassifier:
    """Read a classifier for images and classes of a data set.

    Args:
        path: of a file that `save_classifier` wrote.
        dataset: its name.
        image_size: of the images, in pixels.
        channels: of the images.
        classes: of the data set.

    Returns:
        The classifier, in evaluation mode.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged, not from `advbg reproduce`, or made for another data set, other images or
            classes.
    """
    description, weights = load_weights(path, header=_HEADER, kind="checkpoint", writer="advbg reproduce")
    made_for = description["classifier"]
    expected = {"image_size": image_size, "channels": channels, "classes": classes}
    if made_for != expected:
        raise ValueError(f"checkpoint {str(path)!r} is for {made_for}, but the data set has {expected}")
    if description["dataset"] != dataset:
        raise ValueError(f"checkpoint {str(path)!r} was trained on {description['dataset']}, not on {dataset}")
    model = _ARCHITECTURES[description.get("architecture", PaperClassifier.__name__)](**made_for)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"checkpoint {str(path)!r} does not hold the weights it describes: {error}") from error
    return model.to(memory_format=torch.channels_last).eval()  # pyright: ignore[reportCallIssue]

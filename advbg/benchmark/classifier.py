"""The paper's classifier for small images (section IV)."""

from torch import nn


class PaperClassifier(nn.Sequential):
    """log2(size / 4) blocks of [conv3x3 with 32·2^i filters, ReLU, max-pool 2], dense 128 with ReLU, dense classes.

    Its forward maps images of shape (batch, channels, image_size, image_size) to logits of shape (batch, classes).

    Args:
        image_size: side of the square images, a power of two of at least 8 pixels.
        channels: of the images.
        classes: how many to tell apart.

    Raises:
        ValueError: where `image_size` is another.
    """

    def __init__(self, image_size: int = 32, channels: int = 1, classes: int = 10) -> None:
        if image_size < 8 or image_size & (image_size - 1):
            raise ValueError(f"`image_size` (={image_size}) must be a power of two, 8 or more")
        blocks: list[nn.Module] = []
        inputs, side, filters = channels, image_size, 32
        while side > 4:
            blocks += [nn.Conv2d(inputs, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            inputs, side, filters = filters, side // 2, filters * 2
        super().__init__(*blocks, nn.Flatten(), nn.Linear(inputs * side**2, 128), nn.ReLU(), nn.Linear(128, classes))

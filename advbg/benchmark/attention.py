"""AG-CNN, the attention that the paper compares with (Guan et al. 2018, "Diagnose like a Radiologist")."""

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor, nn
from torchvision.ops import roi_align

from advbg.benchmark.classifier import PaperClassifier

# A heat map's values from this share of its range on are attended to (paper, section IV).
_THRESHOLD = 0.7
_LOCAL_FILTERS = (128, 256, 512)
# Labels neighbours within an image, diagonals included, and never across images.
_NEIGHBOURS = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


class AttentionClassifier(nn.Module):
    """A global branch that finds where to look, a local branch that looks there, and their fusion.

    As in the authors' experiment the global branch is the plain classifier. It is trained by itself first; `attend()`
    then freezes it, and the local branch and the fusion are trained on crops of what it responds to.

    Args:
        image_size: as for `PaperClassifier`.
        channels: as for `PaperClassifier`.
        classes: as for `PaperClassifier`.

    Attributes:
        attending: whether the outputs are those of the fusion.
    """

    attending: Tensor

    def __init__(self, image_size: int = 32, channels: int = 1, classes: int = 10) -> None:
        super().__init__()
        self.global_branch = PaperClassifier(image_size=image_size, channels=channels, classes=classes)
        features = max(layer.out_channels for layer in self.global_branch if isinstance(layer, nn.Conv2d))
        self.local_branch = make_local_branch(channels)
        self.fusion = make_fusion(features, classes)
        self.register_buffer("attending", torch.tensor(False))

    def attend(self) -> None:
        """Freeze the global branch and answer with the fusion from now on."""
        self.attending.fill_(True)
        self.global_branch.requires_grad_(False)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Classify images."""
        if not self.attending:
            return self.global_branch(images)
        with torch.no_grad():
            features = self._last_pooling(images)
            crops = crop(images, attended_boxes(features))
        pooled = [part.mean(dim=(2, 3)) for part in (self.local_branch(crops), features)]
        return self.fusion(torch.cat(pooled, dim=1))

    def _last_pooling(self, images: Tensor) -> Tensor:
        features = images
        for layer in self.global_branch:
            if isinstance(layer, nn.Flatten):
                break
            features = layer(features)
        return features


def make_local_branch(channels: int) -> nn.Sequential:
    """Three convolutions with strides, for crops of so many channels."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip((channels, *_LOCAL_FILTERS), _LOCAL_FILTERS, strict=False):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def make_fusion(features: int, classes: int) -> nn.Sequential:
    """What turns the local branch's pooled outputs, followed by the global branch's, into logits.

    Args:
        features: of the global branch.
        classes: how many there are.
    """
    # Three linear layers without activations, as the authors have them.
    return nn.Sequential(nn.Linear(_LOCAL_FILTERS[-1] + features, 2048), nn.Linear(2048, 256), nn.Linear(256, classes))


def attended_boxes(features: Float[Tensor, "batch channel rows columns"]) -> Float[Tensor, "batch 4"]:
    """Where a network looks: the bounding box of the largest connected part of each heat map.

    The heat map is the maximum of |activation| over the channels, scaled to [0, 1] in each image; what is above the
    threshold counts.

    Args:
        features: activations of the last pooling layer.

    Returns:
        left, top, right and bottom as shares of the image in [0, 1]; all of it where a heat map is flat.
    """
    heat = features.float().abs().amax(dim=1)
    low, high = heat.amin(dim=(1, 2), keepdim=True), heat.amax(dim=(1, 2), keepdim=True)
    hot = (heat - low) / (high - low).clamp(min=torch.finfo(heat.dtype).tiny) >= _THRESHOLD
    hot |= high == low
    labels = np.empty(hot.shape, dtype=np.int32)
    ndimage.label(hot.cpu().numpy(), structure=_NEIGHBOURS, output=labels)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest = sizes[labels].reshape(len(labels), -1).argmax(axis=1)
    inside = labels == labels.reshape(len(labels), -1)[np.arange(len(labels)), largest][:, None, None]
    rows, columns = features.shape[-2:]
    top, bottom = _extent(inside.any(axis=2), rows)
    left, right = _extent(inside.any(axis=1), columns)
    return torch.from_numpy(np.stack([left, top, right, bottom], axis=1)).to(features.device, torch.float32)


def _extent(inside: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    return inside.argmax(axis=1) / count, 1 - inside[:, ::-1].argmax(axis=1) / count


def crop(
    images: Float[Tensor, "batch channel height width"], boxes: Float[Tensor, "batch 4"]
) -> Float[Tensor, "batch channel height width"]:
    """Cut boxes out and enlarge them to the images' own size.

    Args:
        images: any values.
        boxes: left, top, right and bottom as shares of the image.
    """
    height, width = images.shape[-2:]
    places = boxes * boxes.new_tensor([width, height, width, height])
    places = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(places), places], dim=1)
    return roi_align(images.float(), places, (height, width), sampling_ratio=1, aligned=True).to(images.dtype)

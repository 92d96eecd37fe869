"""Segmentation: what every pixel shows, whatever is behind the object."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_jaccard_index

from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.demonstrations import supervised
from advbg.benchmark.demonstrations.figures import draw_label_maps
from advbg.benchmark.demonstrations.unseen import unseen_backgrounds
from advbg.benchmark.mask_quality import filled_silhouettes
from advbg.benchmark.paper_backgrounds import replace_background
from advbg.benchmark.training import Progress

_TEST_IMAGES = 1000
_BATCH_SIZE = 250
_SHOWN_IMAGES = 8


class Segmentation:
    """The demonstration: each pixel of an object is of its class, every other pixel background.

    The label map is the foreground, so there is no mask phase, and nothing is learned about masks.

    Args:
        dataset: images of objects on black.
        recipe: how to train.

    Raises:
        ImportError: where `segmentation_models_pytorch` is not installed.
    """

    name = "segmentation"
    measure = "mIoU (%)"
    higher_is_better = True
    description = (
        "A U-Net (`segmentation_models_pytorch`, ResNet-10 encoder) says of each pixel what garment or digit it is of, "
        "or that it is background. The label map is the mask. mIoU over all classes, background among them."
    )

    def __init__(self, dataset: ImageDataset, recipe: supervised.Recipe) -> None:
        try:
            import segmentation_models_pytorch as smp
        except ImportError as error:
            raise ImportError(
                "the demonstration of segmentation needs segmentation_models_pytorch: pip install advbg[demonstrations]"
            ) from error
        self._unet = smp.Unet
        self.dataset, self.recipe = dataset, recipe
        self.options: dict[str, Any] = {}
        self.classes = len(dataset.class_names) + 1
        self.train_images = dataset.train_images
        self.train_labels = label_maps(dataset.train_images, dataset.train_targets)
        self.test_images = dataset.test_images[:_TEST_IMAGES]
        self.test_labels = label_maps(self.test_images, dataset.test_targets[:_TEST_IMAGES])

    def settings(self) -> dict[str, Any]:
        """Data set, its size, and the recipe."""
        return {"dataset": self.dataset.name, "train_size": len(self.train_images), **asdict(self.recipe)}

    def make_model(self) -> nn.Module:
        """A small U-Net with random weights."""
        return self._unet(
            "tu-resnet10t",
            encoder_depth=3,
            encoder_weights=None,
            decoder_channels=(64, 32, 16),
            in_channels=self.train_images.shape[1],
            classes=self.classes,
        )

    def make_batch(
        self, indices: Int[Tensor, "batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch channel height width"], Tensor]:
        """Images and label maps, as they are."""
        return self.train_images[indices], self.train_labels[indices]

    def loss(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Cross-entropy over all pixels."""
        return F.cross_entropy(outputs, targets)

    def train_and_test(
        self, method: str, seed: int, state_file: Path, report: Callable[[Progress], None]
    ) -> dict[str, Any]:
        """Train a row, and measure its mIoU in percent; see `Demonstration`."""
        trained = supervised.train(self, method, seed, self.recipe, state_file, report)
        changed = {
            name: self._mean_iou(trained.model, self._before(background))
            for name, background in unseen_backgrounds(self.dataset).items()
        }
        return {
            "clean": self._mean_iou(trained.model, self.test_images),
            "changed": changed,
            "seconds": sum(trained.seconds.values()),
            "phase_seconds": trained.seconds,
        }

    def draw(self, seed: int, state_files: dict[str, Path], path: Path) -> None:
        """Draw objects before unseen backgrounds, the truth, and what each method says."""
        backgrounds = list(unseen_backgrounds(self.dataset).values())
        chosen = backgrounds[:: max(1, len(backgrounds) // _SHOWN_IMAGES)][:_SHOWN_IMAGES]
        images = torch.cat([self._before(background)[index : index + 1] for index, background in enumerate(chosen)])
        rows = {"truth": self.test_labels[: len(images)]}
        for method, state_file in state_files.items():
            trained, state = supervised.prepare(self, method, seed, self.recipe)
            state.load(state_file, None, self.train_images)
            rows[method] = self._predict(trained.model, images)
        draw_label_maps(images, rows, self.classes, path)

    def _before(self, background: Float[Tensor, "height width"]) -> Tensor:
        return replace_background(self.test_images, (self.test_labels > 0)[:, None], background)

    def _mean_iou(self, model: nn.Module, images: Tensor) -> float:
        predicted = self._predict(model, images)
        return 100 * multiclass_jaccard_index(predicted, self.test_labels, num_classes=self.classes).item()

    def _predict(self, model: nn.Module, images: Tensor) -> Int[Tensor, "batch height width"]:
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            return torch.cat([model(batch).argmax(dim=1) for batch in images.split(_BATCH_SIZE)])


def label_maps(
    images: Float[Tensor, "batch channel height width"], targets: Int[Tensor, "batch"]
) -> Int[Tensor, "batch height width"]:
    """Label maps of objects on black: the class plus 1 on the filled silhouette, 0 elsewhere.

    Args:
        images: pixels in [0, 1].
        targets: indices of classes.
    """
    return filled_silhouettes(images)[:, 0] * (targets + 1)[:, None, None]

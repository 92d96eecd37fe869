"""Regression: by what angle an object is turned, whatever is behind it."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import kornia
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics.functional.regression import mean_absolute_error

from advbg.benchmark.classifier import PaperClassifier
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.demonstrations import supervised
from advbg.benchmark.demonstrations.figures import draw_angles
from advbg.benchmark.demonstrations.unseen import unseen_backgrounds
from advbg.benchmark.mask_quality import rate_companions
from advbg.benchmark.paper_backgrounds import dilated_silhouettes, replace_background
from advbg.benchmark.training import Progress

_LARGEST_ANGLE = 45.0
_TEST_IMAGES = 1000
_TEST_SEED = 20203
_BATCH_SIZE = 500
_SHOWN_IMAGES = 10


class Regression:
    """The demonstration: images are turned by an angle between -45 and 45 degrees, which is to be said.

    Masks are learned from the angles alone.

    Args:
        dataset: images of upright objects on black.
        recipe: how to train.

    Raises:
        ValueError: where the recipe leaves masks no epoch to be learned in.
    """

    name = "regression"
    measure = "mean absolute error (degrees)"
    higher_is_better = False
    description = (
        "The paper's classifier with one output says by what angle between -45 and 45 degrees a picture is turned. "
        "Masks are learned from the angles alone; the error is a mean over pictures. A tenth of each batch keeps "
        "its own background (`clean_share`; the default is a quarter)."
    )

    def __init__(self, dataset: ImageDataset, recipe: supervised.Recipe) -> None:
        if recipe.epochs[1] == 0:
            raise ValueError(f"`epochs` (={recipe.epochs}) must leave 1 or more to the masks, which proposal learns")
        self.dataset, self.recipe = dataset, recipe
        # With the default the error before other backgrounds is the same, but that before the own one is smaller.
        self.options = {"clean_share": 0.1}
        self.train_images = dataset.train_images
        upright = dataset.test_images[:_TEST_IMAGES]
        self.test_images, self.test_angles = turn(upright, torch.Generator().manual_seed(_TEST_SEED))

    def settings(self) -> dict[str, Any]:
        """Data set, its size, and the recipe."""
        return {"dataset": self.dataset.name, "train_size": len(self.train_images), **asdict(self.recipe)}

    def make_model(self) -> nn.Module:
        """The paper's classifier with one output, the angle in units of 45 degrees."""
        channels, size = self.train_images.shape[1:3]
        return PaperClassifier(image_size=size, channels=channels, classes=1)

    def make_batch(
        self, indices: Int[Tensor, "batch"], generator: torch.Generator
    ) -> tuple[Float[Tensor, "batch channel height width"], Tensor]:
        """Images, each turned anew, and their angles in degrees."""
        return turn(self.train_images[indices], generator)

    def loss(self, outputs: Tensor, targets: Tensor) -> Float[Tensor, ""]:
        """Mean absolute error, in units of 45 degrees."""
        return F.l1_loss(outputs, targets / _LARGEST_ANGLE)

    def train_and_test(
        self, method: str, seed: int, state_file: Path, report: Callable[[Progress], None]
    ) -> dict[str, Any]:
        """Train a row, and measure its error in degrees; see `Demonstration`."""
        trained = supervised.train(self, method, seed, self.recipe, state_file, report)
        silhouettes = dilated_silhouettes(self.test_images)
        changed = {
            name: self._error(trained.model, replace_background(self.test_images, silhouettes, background))
            for name, background in unseen_backgrounds(self.dataset).items()
        }
        result: dict[str, Any] = {
            "clean": self._error(trained.model, self.test_images),
            "changed": changed,
            "seconds": sum(trained.seconds.values()),
            "phase_seconds": trained.seconds,
        }
        if trained.wrapper is not None:
            result["mask_quality"] = asdict(rate_companions(trained.wrapper.companions, self.test_images))
        return result

    def draw(self, seed: int, state_files: dict[str, Path], path: Path) -> None:
        """Draw turned objects before unseen backgrounds with their angles, and what each method says."""
        backgrounds = list(unseen_backgrounds(self.dataset).values())
        chosen = backgrounds[:: max(1, len(backgrounds) // _SHOWN_IMAGES)][:_SHOWN_IMAGES]
        objects, angles = self.test_images[: len(chosen)], self.test_angles[: len(chosen), 0]
        silhouettes = dilated_silhouettes(objects)
        images = torch.cat(
            [
                replace_background(objects[index : index + 1], silhouettes[index : index + 1], background)
                for index, background in enumerate(chosen)
            ]
        )
        rows = {"truth": angles}
        for method, state_file in state_files.items():
            trained, state = supervised.prepare(self, method, seed, self.recipe)
            state.load(state_file, None, self.train_images)
            rows[method] = self._predict(trained.model, images)[:, 0]
        draw_angles(images, rows, path)

    def _error(self, model: nn.Module, images: Tensor) -> float:
        return mean_absolute_error(self._predict(model, images), self.test_angles).item()

    def _predict(self, model: nn.Module, images: Tensor) -> Float[Tensor, "batch 1"]:
        """Angles in degrees."""
        model.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.bfloat16):
            outputs = torch.cat([model(batch).float() for batch in images.split(_BATCH_SIZE)])
        return outputs * _LARGEST_ANGLE


def turn(
    images: Float[Tensor, "batch channel height width"], generator: torch.Generator
) -> tuple[Float[Tensor, "batch channel height width"], Float[Tensor, "batch 1"]]:
    """Turn each image by an angle of its own.

    Args:
        images: pixels in [0, 1] on black.
        generator: draws the angles.

    Returns:
        The turned images, and the angles in degrees, anticlockwise, from -45 to 45.
    """
    angles = _LARGEST_ANGLE * (2 * torch.rand((len(images), 1), generator=generator) - 1)
    return kornia.geometry.rotate(images, angles[:, 0]), angles

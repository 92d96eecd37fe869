"""AG-CNN around a timm model: it looks at all of an image first, then at what it responded to."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from advbg.benchmark.attention import attended_boxes, crop, make_fusion, make_local_branch
from advbg.benchmark.training import Progress
from advbg.training.data import TrainingData
from advbg.training.fit import Fitted, fit
from advbg.training.settings import PLAIN, FitSettings


class AttentionAround(nn.Module):
    """A trained timm model as the global branch, frozen, with a local branch and the fusion of the two.

    Args:
        global_branch: with timm's `forward_features`, whose outputs have the shape (batch, channel, rows, columns).
        classes: how many it tells apart.
        image_size: side of the images in pixels.

    Raises:
        ValueError: where its features are no maps.
    """

    global_branch: Any

    def __init__(self, global_branch: nn.Module, classes: int, image_size: int) -> None:
        super().__init__()
        self.global_branch = global_branch.requires_grad_(False)
        # What says how images are normalised.
        self.pretrained_cfg = getattr(global_branch, "pretrained_cfg", {})
        device = next(global_branch.parameters()).device
        with torch.no_grad():
            image = torch.zeros(1, 3, image_size, image_size, device=device)
            features = self.global_branch.eval().forward_features(image)
        if features.ndim != 4 or features.shape[1] != global_branch.num_features:
            raise ValueError(
                "the row `attention` needs a model with feature maps of shape (batch, channels, rows, columns), but "
                f"these have shape {tuple(features.shape)}"
            )
        self.local_branch = make_local_branch(3).to(device)
        self.fusion = make_fusion(features.shape[1], classes).to(device)

    def train(self, mode: bool = True) -> "AttentionAround":
        """Set the mode of all but the global branch, which is frozen with its statistics."""
        super().train(mode)
        self.global_branch.eval()
        return self

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch classes"]:
        """Classify images."""
        with torch.no_grad():
            features = self.global_branch.forward_features(images)
            crops = crop(images, attended_boxes(features))
        pooled = [part.mean(dim=(2, 3)) for part in (self.local_branch(crops), features)]
        return self.fusion(torch.cat(pooled, dim=1))


def fit_attention(
    model: nn.Module,
    data: TrainingData,
    settings: FitSettings,
    state_file: Path,
    report: Callable[[Progress], None],
) -> Fitted:
    """Train the global branch for half of the epochs, then the others.

    Args:
        model: the global branch, a timm model.
        data: the images.
        settings: of a baseline, with 2 epochs or more.
        state_file: as for `fit`; the second training has one beside it.
        report: called after every step.

    Returns:
        The whole model, with the seconds of both trainings.

    Raises:
        DamagedStateError: where a file of a state is damaged or of another training.
        ValueError: where the model's features are no maps.
    """
    first = settings.epochs // 2
    alone = fit(model, data, replace(settings, epochs=first), state_file=state_file, report=report)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        around = AttentionAround(model, int(data.targets.max()) + 1, data.images.shape[-1])
    # The local branch is new, and has nothing to keep.
    second = replace(settings, epochs=settings.epochs - first, tuning=PLAIN, hold_statistics=False)
    together = fit(around, data, second, state_file=state_file.with_suffix(".attention.pt"), report=report)
    for part, seconds in alone.phase_seconds.items():
        together.phase_seconds[part] = together.phase_seconds.get(part, 0.0) + seconds
    return together

"""What a trained model of a case study is tested on."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from advbg.backgrounds import Photographs
from advbg.benchmark.case_study.studies import Study
from advbg.benchmark.mask_quality import MaskQuality, rate_masks
from advbg.training.testing import accuracy, predict
from advbg.wrapper import AdversarialBackground

HELD_OUT = "held-out"
BEFORE_PHOTOGRAPHS = "held-out before photographs"

# Backgrounds for each held-out object, so that chance has less of a say.
_BACKGROUNDS = 4
_SEED = 20204
_BATCH_SIZE = 64


def before_photographs(study: Study, unseen: Path) -> list[UInt8[Tensor, "held_out 3 size size"]]:
    """Put the held-out objects, cut out by their silhouettes, before photographs: the pure change of background.

    Args:
        study: with held-out images and their silhouettes.
        unseen: folder of photographs.

    Returns:
        Four versions of all held-out images, the same in every run.
    """
    source, generator = Photographs(unseen, keep_in_memory=True), torch.Generator().manual_seed(_SEED)
    pixels, versions = study.held_out.pixels, []
    for _ in range(_BACKGROUNDS):
        backgrounds = source.sample(len(pixels), (3, *pixels.shape[-2:]), generator)
        versions.append(torch.where(study.silhouettes, pixels, (255 * backgrounds).round().to(torch.uint8)))
    return versions


def test_model(model: nn.Module, study: Study, unseen: Path) -> dict[str, float]:
    """Accuracy in percent on every column of the study.

    Args:
        model: trained.
        study: the data.
        unseen: folder of photographs that no training saw.
    """
    columns = {HELD_OUT: accuracy(predict(model, study.held_out.pixels), study.held_out.targets)}
    changed = [predict(model, pixels) for pixels in before_photographs(study, unseen)]
    columns[BEFORE_PHOTOGRAPHS] = accuracy(torch.cat(changed), study.held_out.targets.repeat(len(changed)))
    for name, images in study.elsewhere.items():
        columns[name] = accuracy(predict(model, images.pixels), images.targets)
    return columns


def rate_learned_masks(wrapper: AdversarialBackground, study: Study) -> MaskQuality:
    """Compare the masks of held-out images with their silhouettes.

    Args:
        wrapper: whose companions have learned masks.
        study: the data.
    """
    companions, masks = wrapper.companions, []
    for batch in study.held_out.pixels.split(_BATCH_SIZE):
        images: Any = companions.pixel_space.from_pixels(batch.to(companions.device) / 255)
        masks.append(companions.foreground(images).cpu() > 0.5)
    return rate_masks(torch.cat(masks), study.silhouettes)

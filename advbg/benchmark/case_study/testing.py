"""What a trained model of a case study is tested on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advbg.backgrounds import Photographs
from advbg.benchmark.case_study.studies import Images, Study
from advbg.benchmark.mask_quality import MaskQuality, rate_masks
from advbg.training.testing import accuracy, predict
from advbg.wrapper import AdversarialBackground

HELD_OUT = "held-out"
NEW_BACKGROUND = "new background"

# Backgrounds for each held-out object, so that chance has less of a say.
_BACKGROUNDS = 4
_SEED = 20204
_BATCH_SIZE = 64


def column_sizes(study: Study) -> dict[str, int]:
    """How many images each column has.

    Args:
        study: the data.
    """
    held_out = len(study.held_out.pixels)
    elsewhere = {name: len(images.pixels) for name, images in study.elsewhere.items()}
    return {HELD_OUT: held_out, NEW_BACKGROUND: _BACKGROUNDS * held_out, **elsewhere}


def columns_of(study: Study, unseen: Path) -> dict[str, Images]:
    """The columns of a study.

    Before a new background, held-out objects are cut out by their silhouettes and put before photographs: the pure
    change of background. There are four versions of each, the same in every run.

    Args:
        study: with held-out images and their silhouettes.
        unseen: folder of photographs that no training sees.
    """
    held_out = study.held_out
    source, generator = Photographs(unseen, keep_in_memory=True), torch.Generator().manual_seed(_SEED)
    count, channels, height, width = held_out.pixels.shape
    versions = []
    for _ in range(_BACKGROUNDS):
        backgrounds = source.sample(count, (channels, height, width), generator)
        versions.append(torch.where(study.silhouettes, held_out.pixels, (255 * backgrounds).round().to(torch.uint8)))
    changed = Images(torch.cat(versions), held_out.targets.repeat(_BACKGROUNDS))
    return {HELD_OUT: held_out, NEW_BACKGROUND: changed, **study.elsewhere}


def measure(model: nn.Module, sets: Mapping[str, Images], *, bfloat16: bool) -> dict[str, float]:
    """Accuracy in percent on every column.

    Args:
        model: trained.
        sets: from `columns_of`.
        bfloat16: whether to call the model under autocast.
    """
    return {
        name: accuracy(predict(model, images.pixels, bfloat16=bfloat16), images.targets)
        for name, images in sets.items()
    }


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

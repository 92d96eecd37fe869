"""What a trained model of a case study is tested on."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advbg.backgrounds import Photographs
from advbg.benchmark.case_study.photographs import shown_in_tests
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


@dataclass(frozen=True)
class Columns:
    """The columns of a study.

    Attributes:
        sets: images by the names of the columns.
        behind: the photograph behind each image of `NEW_BACKGROUND`.
    """

    sets: dict[str, Images]
    behind: tuple[Path, ...]

    def before(self, photographs: Collection[Path]) -> "Columns":
        """The columns with those new backgrounds only that are of some photographs.

        Raises:
            ValueError: where there are none.
        """
        kept = [index for index, file in enumerate(self.behind) if file in photographs]
        if not kept:
            raise ValueError(
                f"none of the {len(self.behind)} new backgrounds is of the photographs that a training leaves out, "
                f"such as {min(photographs)}: more images must be held out"
            )
        images = self.sets[NEW_BACKGROUND]
        some = Images(images.pixels[kept], images.targets[kept])
        return Columns(self.sets | {NEW_BACKGROUND: some}, tuple(self.behind[index] for index in kept))


def columns_of(study: Study, folder: Path) -> Columns:
    """The columns of a study.

    Before a new background, held-out objects are cut out by their silhouettes and put before photographs: the pure
    change of background. There are four versions of each, the same in every run.

    Args:
        study: with held-out images and their silhouettes.
        folder: of photographs, some of which are tested before.
    """
    held_out = study.held_out
    source, generator = Photographs(folder, keep_in_memory=True), torch.Generator().manual_seed(_SEED)
    source.leave_out(set(source.files) - set(shown_in_tests(source.files)))
    count, channels, height, width = held_out.pixels.shape
    versions, behind = [], []
    for _ in range(_BACKGROUNDS):
        backgrounds, files = source.sample_with_files(count, (channels, height, width), generator)
        versions.append(torch.where(study.silhouettes, held_out.pixels, (255 * backgrounds).round().to(torch.uint8)))
        behind += files
    changed = Images(torch.cat(versions), held_out.targets.repeat(_BACKGROUNDS))
    return Columns({HELD_OUT: held_out, NEW_BACKGROUND: changed, **study.elsewhere}, tuple(behind))


def measure(model: nn.Module, columns: Columns, *, bfloat16: bool) -> dict[str, float]:
    """Accuracy in percent on every column.

    Args:
        model: trained.
        columns: from `columns_of`.
        bfloat16: whether to call the model under autocast.
    """
    return {
        name: accuracy(predict(model, images.pixels, bfloat16=bfloat16), images.targets)
        for name, images in columns.sets.items()
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

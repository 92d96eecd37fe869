"""The max step over what no gradient reaches: of several backgrounds, the one that harms the model's answer most."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from advbg.backgrounds import check_range, sample_candidates
from advbg.clutter import show_other_objects
from advbg.compositing import CompositeParameters, composite_with, draw_parameters
from advbg.masks.learning import keep_outputs
from advbg.max_step import reverse_gradient
from advbg.optimization import evaluating
from advbg.task_hooks import task_hardness

if TYPE_CHECKING:
    from advbg.companions import Companions


@dataclass(frozen=True)
class Judge:
    """The model that says which of several backgrounds is the hardest.

    Args:
        model: held in evaluation mode while it judges, without gradients.
        call: calls it on images.
        targets: of the images, for the task's plugin; None where there are none.
    """

    model: nn.Module
    call: Callable[[Tensor], Any]
    targets: Any | None = None


def check_judge(companions: "Companions", judge: Judge, images: Float[Tensor, "batch channel height width"]) -> None:
    """Judge the first batch of a training as it is, whose backgrounds are judged in the last phase alone.

    Raises:
        TypeError: as for `draw_composites`.
        ValueError: likewise.
    """
    if companions.options.candidates > 1 and not companions.batches and companions.phase != "adversarial":
        _judge(companions, judge, images, [images])


def draw_composites(
    companions: "Companions",
    judge: Judge | None,
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 rows columns"] | None,
) -> CompositeParameters:
    """Draw what images are composited with, their backgrounds as often as the option `candidates` says.

    The loss of the worst of several augmentations is what Gong et al. minimise (*MaxUp*, CVPR 2021); here it is the
    inner maximum of the paper's objective (section III) over backgrounds that have no parameters, such as photographs.

    Args:
        companions: in the adversarial phase.
        judge: who chooses; None where there is one candidate.
        images: the model's input.
        mask: the foreground in [0, 1], at their size or small; None where nobody chooses, and neither `clutter` nor
            `distractors` are cut out.

    Returns:
        Draws whose backgrounds carry the reversed gradient where the source can be trained. Candidates that were not
        chosen have no other gradient than the push of those that are monochrome and too bright.

    Raises:
        TypeError: where the model's outputs are not such as can be compared.
        ValueError: where the task's plugin has not rated each image.
    """
    candidates = _candidates(companions, images, mask)
    params = draw_parameters(candidates[0], companions.options, companions.largest_halo(images), companions.generator)
    if judge is None or mask is None or len(candidates) == 1:
        return params
    foreground = companions.foreground(images, mask=mask, params=params)
    composites = (
        composite_with(replace(params, backgrounds=backgrounds), images, foreground, companions.pixel_space)
        for backgrounds in candidates
    )
    hardest = _judge(companions, judge, images, composites)[:, None, None, None]
    chosen = candidates[0]
    for number, backgrounds in enumerate(candidates[1:], start=1):
        chosen = torch.where(hardest == number, backgrounds, chosen)
    return replace(params, backgrounds=chosen)


def _candidates(companions: "Companions", images: Tensor, mask: Tensor | None) -> list[Tensor]:
    options, source, generator = companions.options, companions.source, companions.generator
    count, channels, height, width = images.shape
    drawn = sample_candidates(source, options.candidates, count, (channels, height, width), generator)
    if not companions.source_checked:
        check_range(drawn, source)
        companions.source_checked = True
    candidates = [reverse_gradient(backgrounds) if drawn.requires_grad else backgrounds for backgrounds in drawn]
    if mask is None or not (options.clutter or options.distractors):
        return candidates
    pixels, state, shown = companions.pixel_space.to_pixels(images), generator.get_state(), []
    for backgrounds in candidates:
        # The same pieces and objects, or more of them than was said would be shown, being the harder ones.
        generator.set_state(state)
        shown.append(show_other_objects(backgrounds, pixels, mask, options, generator))
    return shown


@torch.no_grad()
def _judge(
    companions: "Companions", judge: Judge, images: Tensor, composites: Iterable[Tensor]
) -> Int64[Tensor, "batch"]:
    """Of each image, which composite is answered worst; the first of those that are answered alike."""
    task, device, known = companions.options.task, images.device.type, []

    def expected() -> Any:
        if not known:
            known.append(keep_outputs(judge.call(images)))
        return known[0]

    # The cache of older releases of torch hands weights that were cast under `no_grad` to the user's own call.
    autocast = torch.autocast(
        device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), cache_enabled=False
    )
    companions.learning = True
    try:
        with evaluating(judge.model), autocast:
            hardness = [
                task_hardness(task, keep_outputs(judge.call(shown)), expected, judge.targets, len(images))
                for shown in composites
            ]
    finally:
        companions.learning = False
    # What overflowed would always win, and with it a batch that `GradScaler` must skip.
    found = torch.stack(hardness)
    return torch.where(found.isfinite(), found, -torch.inf).argmax(dim=0)

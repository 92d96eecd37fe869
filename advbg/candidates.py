"""The max step over what no gradient reaches: of several backgrounds, the one that harms the model's answer most."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from advbg.backgrounds import check_range, sample_candidates
from advbg.clutter import show_other_objects
from advbg.compositing import CompositeParameters, composite_with
from advbg.max_step import reverse_gradient
from advbg.optimization import evaluating
from advbg.task_hooks import task_harm

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


def draw_candidates(
    companions: "Companions", images: Float[Tensor, "batch channel height width"], mask: Tensor | None
) -> list[Float[Tensor, "batch channel height width"]]:
    """Draw what may stand behind each image, as often as the option `candidates` says.

    Args:
        companions: in the adversarial phase.
        images: the model's input.
        mask: where their objects are, for `clutter` and `distractors`.

    Returns:
        Backgrounds in [0, 1] that carry the reversed gradient where the source can be trained.
    """
    options, source, generator = companions.options, companions.source, companions.generator
    count, channels, height, width = images.shape
    drawn = sample_candidates(source, options.candidates, count, (channels, height, width), generator)
    if not companions.source_checked:
        check_range(drawn, source)
        companions.source_checked = True
    candidates = [reverse_gradient(backgrounds) if drawn.requires_grad else backgrounds for backgrounds in drawn]
    if mask is None or not (options.clutter or options.distractors):
        return candidates
    pixels = companions.pixel_space.to_pixels(images)
    return [show_other_objects(backgrounds, pixels, mask, options, generator) for backgrounds in candidates]


def choose_hardest(
    companions: "Companions",
    judge: Judge,
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 rows columns"],
    params: CompositeParameters,
    candidates: Sequence[Float[Tensor, "batch channel height width"]],
) -> CompositeParameters:
    """Give each image the background before which the model answers worst.

    The loss of the worst of several augmentations is what Gong et al. minimise (*MaxUp*, CVPR 2021); here it is the
    inner maximum of the paper's objective (section III) over backgrounds that have no parameters, such as photographs.

    Args:
        companions: in the adversarial phase.
        judge: the model.
        images: the model's input.
        mask: the foreground in [0, 1], at their size or small.
        params: everything else that was drawn for them.
        candidates: what may stand behind each.

    Returns:
        The same draws with the chosen backgrounds, which keep their graph; the others get a gradient of zero.

    Raises:
        TypeError: where the model's outputs are not such as can be compared.
        ValueError: where the task's plugin has not rated each image.
    """
    foreground = companions.foreground(images, mask=mask, params=params)
    composites = (
        composite_with(replace(params, backgrounds=backgrounds), images, foreground, companions.pixel_space)
        for backgrounds in candidates
    )
    with torch.no_grad():
        hardest = _judge(companions, judge, images, composites)[:, None, None, None]
    chosen = candidates[0]
    for number, backgrounds in enumerate(candidates[1:], start=1):
        chosen = torch.where(hardest == number, backgrounds, chosen)
    return replace(params, backgrounds=chosen)


def _judge(
    companions: "Companions", judge: Judge, images: Tensor, composites: Iterable[Tensor]
) -> Int64[Tensor, "batch"]:
    """Of each image, which composite is answered worst; the first of those that are answered alike."""
    task, device, known = companions.options.task, images.device.type, []

    def expected() -> Any:
        if not known:
            known.append(judge.call(images))
        return known[0]

    # The cache would hand weights that were cast without a graph to the user's own call.
    autocast = torch.autocast(
        device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device), cache_enabled=False
    )
    companions.learning = True
    try:
        with evaluating(judge.model), autocast:
            harms = [task_harm(task, judge.call(shown), expected, judge.targets, len(images)) for shown in composites]
    finally:
        companions.learning = False
    return torch.stack(harms).argmax(dim=0)

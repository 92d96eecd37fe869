"""Every hook of advbg: what a plugin may say, and what it is told."""

# pyright: reportReturnType=false
# ruff: noqa: UP037 - which reads jaxtyping's shapes as quoted annotations
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import torch
    import typer
    from jaxtyping import Bool, Float
    from torch import Tensor

    from advbg.backgrounds import BackgroundSource
    from advbg.companions import Companions
    from advbg.schedule import Phase

hookspec = pluggy.HookspecMarker("advbg")
hookimpl = pluggy.HookimplMarker("advbg")


@hookspec
def advbg_tasks() -> Iterable[str]:
    """Name the tasks that a plugin knows, for `AdversarialBackground(task=...)`."""


@hookspec(firstresult=True)
def advbg_foreground(task: str, images: Tensor, targets: Any) -> Tensor | None:
    """Find the foreground of a batch in its targets, so that no mask has to be learned.

    Called for every training batch that comes with `targets=`; where it comes with `mask=` as well, that is used. A
    plugin that finds the targets unfit for the task raises a `ValueError`.

    Args:
        task: what the wrapper was given as `task`.
        images: the model's input, of shape (batch, channel, height, width).
        targets: what the wrapper was given as `targets`.

    Returns:
        Bool, or float in [0, 1], of shape (batch, height, width) or (batch, 1, height, width); None for what the
        plugin does not know.
    """


@hookspec(firstresult=True)
def advbg_targets(
    task: str, targets: Any, foreground: Float[Tensor, "batch 1 height width"], composited: Bool[Tensor, "batch"]
) -> Any | None:
    """Change targets as their images' backgrounds were changed; `wrapper.targets` holds the result.

    Args:
        task: what the wrapper was given as `task`.
        targets: what the wrapper was given as `targets`; not to be changed in place.
        foreground: the mask that was composited with, in [0, 1], halo included.
        composited: which images got another background.

    Returns:
        Targets of the same kind; None where they stay as they are.
    """


@hookspec(firstresult=True)
def advbg_distance(task: str, outputs: Any, expected: Any, other: Any, batch_size: int) -> Float[Tensor, ""] | None:
    """Measure how far a model's outputs are from what was expected, to rate masks.

    Args:
        task: what the wrapper was given as `task`.
        outputs: the model's outputs for masked images, as the model returns them, with a graph.
        expected: its outputs for the whole images (or the empty studio).
        other: its outputs for the empty studio (or the whole images).
        batch_size: number of images.

    Returns:
        A scalar: 0 where `outputs` are `expected`, about 1 where they are so far off that the answer is lost; None for
        a task that the plugin does not know.
    """


@hookspec(firstresult=True)
def advbg_hardness(
    task: str, outputs: Any, expected: Callable[[], Any], targets: Any, batch_size: int
) -> Float[Tensor, "batch"] | None:
    """Rate how badly a model answers each image, to choose the hardest of several `candidates` for its background.

    Args:
        task: what the wrapper was given as `task`.
        outputs: the model's outputs for the images before other backgrounds, as the model returns them.
        expected: returns its outputs for the images as they are; who calls it costs the step a forward pass.
        targets: what the wrapper was given as `targets`, of the images as they are, or None.
        batch_size: number of images.

    Returns:
        A number for each image, the higher the worse; None for what the plugin does not know.
    """


@hookspec
def advbg_background_sources() -> Mapping[str, Callable[[tuple[int, int, int], torch.Generator], BackgroundSource]]:
    """Add background sources by name, for `AdversarialBackground(background=...)`.

    Returns:
        A factory for each name: from channels, height and width, and a CPU generator for first weights, to a source.
    """


@hookspec
def advbg_mask_generators() -> Mapping[str, Callable[[tuple[int, int, int]], Callable[[Tensor], Tensor]]]:
    """Add mask generators by name, for `AdversarialBackground(mask_generator=...)`.

    Returns:
        A factory for each name: from channels, height and width to a module or function from pixels in [0, 1] to masks
        in [0, 1] of shape (batch, 1, height, width).
    """


@hookspec
def advbg_phase_changed(companions: Companions, phase: Phase, step: int) -> None:
    """Learn of the phase that a training is in: at its first batch and whenever it changes.

    Args:
        companions: of the model that is trained.
        phase: `classifier`, `mask` or `adversarial`.
        step: optimiser steps so far.
    """


@hookspec
def advbg_step(companions: Companions, phase: Phase, step: int, scalars: Mapping[str, Tensor]) -> None:
    """Look at a training after each step of the model's optimiser.

    Args:
        companions: of the model that is trained.
        phase: that the step was taken in.
        step: optimiser steps so far, this one included.
        scalars: of the step's last batch, each of shape () and without a graph, on the images' device, so that only
            who reads one waits for the GPU. In the mask phase `mask_loss`; in the adversarial phase `mask_area` (mean
            of the masks), `background_mean`, `background_spread` (standard deviation) and, from a source that is
            trained, `harm`: by how much the loss would rise, to first order, if each image's background went a
            distance of 1 uphill (times AMP's loss scale, where there is one). `loss` and others where the loop says
            them with `companions.report(loss=loss)`.
    """


@hookspec
def advbg_composite(
    companions: Companions,
    images: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"],
    composites: Float[Tensor, "batch channel height width"],
) -> None:
    """Look at the composites of a batch.

    Args:
        companions: of the model that is trained; `companions.pixel_space.to_pixels` makes pixels of images.
        images: the model's input, without a graph.
        mask: the foreground of `images` in [0, 1], halo included; composites may show it smaller and elsewhere.
        composites: what the model sees instead, without a graph.
    """


@hookspec
def advbg_commands(app: typer.Typer) -> None:
    """Add commands to `advbg`.

    Args:
        app: where `@app.command()` adds one.
    """

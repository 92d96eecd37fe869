"""What the core asks of the plugin that knows the task."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from advbg.appearance import has_foreground
from advbg.hooks import plugin_manager
from advbg.masks.given import check_mask

_hooks = plugin_manager.hook


def find_foreground(
    task: str, images: Float[Tensor, "batch channel height width"], targets: Any
) -> Float[Tensor, "batch 1 height width"] | None:
    """Ask for the foreground of a batch in its targets.

    Args:
        task: its name.
        images: the model's input.
        targets: what the wrapper was given; None says nothing.

    Returns:
        Masks in [0, 1], or None where the targets do not show the foreground.

    Raises:
        ValueError: where the targets do not fit the task, or the answer is no mask for these images.
    """
    if targets is None:
        return None
    mask = _hooks.advbg_foreground(task=task, images=images, targets=targets)
    if mask is None:
        return None
    try:
        return check_mask(mask, images)
    except ValueError as error:
        raise ValueError(f"the foreground that task {task!r} found in `targets` is none: {error}") from error


def changes_targets(task: str) -> bool:
    """Whether a plugin that knows the task says what becomes of its targets before other backgrounds."""
    plugins: list[Any] = [impl.plugin for impl in _hooks.advbg_targets.get_hookimpls()]
    return any(task in (plugin.advbg_tasks() or ()) for plugin in plugins if hasattr(plugin, "advbg_tasks"))


def change_targets(
    task: str,
    targets: Any,
    foreground: Float[Tensor, "batch 1 height width"],
    composited: Bool[Tensor, "batch"],
) -> Any:
    """Ask for what becomes of targets before other backgrounds; without an answer they stay as they are.

    Args:
        task: its name.
        targets: what the wrapper was given.
        foreground: the mask that was composited with.
        composited: which images were to get another background; those without any foreground did not.
    """
    if targets is None:
        return None
    changed = composited & has_foreground(foreground)
    answer = _hooks.advbg_targets(task=task, targets=targets, foreground=foreground, composited=changed)
    return targets if answer is None else answer


def task_distance(task: str, outputs: Any, expected: Any, other: Any, batch_size: int) -> Float[Tensor, ""]:
    """Ask for the distance between outputs that rates masks; see `advbg.hookspecs.advbg_distance`."""
    return _hooks.advbg_distance(task=task, outputs=outputs, expected=expected, other=other, batch_size=batch_size)


def task_hardness(
    task: str, outputs: Any, expected: Callable[[], Any], targets: Any, batch_size: int
) -> Float[Tensor, "batch"]:
    """Ask how badly the model answers each image; see `advbg.hookspecs.advbg_hardness`.

    Raises:
        TypeError: where the outputs are not such as can be compared.
        ValueError: where the plugin that knows the task has not rated each image.
    """
    try:
        hardness = _hooks.advbg_hardness(
            task=task, outputs=outputs, expected=expected, targets=targets, batch_size=batch_size
        )
    except TypeError as error:
        raise TypeError(f"`candidates` cannot be compared: {error}") from error
    if not isinstance(hardness, Tensor) or hardness.shape != (batch_size,):
        got = f"shape {tuple(hardness.shape)}" if isinstance(hardness, Tensor) else type(hardness).__name__
        raise ValueError(
            f"`advbg_hardness` of task {task!r} returned {got}, expected one number for each of {batch_size}"
        )
    return hardness

"""What a saved state of companions holds beside their weights."""

from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

import torch

from advbg.distributed import rank
from advbg.masks import is_learned
from advbg.random_streams import resume_stream
from advbg.schedule import PHASES, Schedule
from advbg.warning import warn

if TYPE_CHECKING:
    from advbg.companions import Companions


def extra_state(companions: "Companions") -> dict[str, Any]:
    """Steps, optimisers, random state, and how the companions were configured, in values that `torch.load` trusts."""
    state = {
        "image_shape": companions.image_shape,
        "step_count": companions.step_count,
        "masks_given": companions.masks_given,
        "schedule": astuple(companions.options.schedule),
        "mean": companions.pixel_space.mean,
        "std": companions.pixel_space.std,
        "options": companions.options.names(),
    }
    if companions.image_shape is None:
        return state
    return state | {
        "rank": rank(),
        "generator": companions.generator.get_state(),
        "optimizers": [optimizer and optimizer.state_dict() for optimizer in optimizers_of(companions)],
    }


def take_extra_state(companions: "Companions", state: Mapping[str, Any]) -> None:
    """Go on from `extra_state` of companions of the same kind; warns of a schedule that leads back."""
    companions.step_count, companions.masks_given = state["step_count"], state["masks_given"]
    if state["image_shape"] is None:
        return
    resume_stream(companions.generator, state["generator"], state.get("rank", 0))
    for optimizer, saved in zip(optimizers_of(companions), state["optimizers"], strict=True):
        if optimizer is not None:
            optimizer.load_state_dict(saved)
    _warn_of_earlier_phase(companions, saved_schedule(state))


def _warn_of_earlier_phase(companions: "Companions", saved: Schedule) -> None:
    schedule, phase = companions.options.schedule, companions.phase
    masks_given = companions.masks_given or not is_learned(companions.mask_generator)
    before = saved.phase(companions.step_count, masks_given=masks_given)
    if PHASES.index(phase) < PHASES.index(before):
        warn(
            f"the state was saved after {companions.step_count} steps in the {before} phase of {saved!r}, but "
            f"`schedule` (={schedule!r}) leads back to the {phase} phase: pass `schedule={saved!r}` to go on in the "
            f"{before} phase"
        )


def saved_schedule(state: Mapping[str, Any]) -> Schedule:
    """The schedule in `extra_state`; runs that were saved without one had the default."""
    return Schedule(*state["schedule"]) if "schedule" in state else Schedule()


def follow_parameters(companions: "Companions") -> None:
    """Take the random stream and the optimisers to the device to which the companions have been moved."""
    state, companions.generator = companions.generator.get_state(), torch.Generator(companions.device)
    resume_stream(companions.generator, state, rank())
    for optimizer in filter(None, optimizers_of(companions)):
        optimizer.load_state_dict(optimizer.state_dict())  # which takes it to where its parameters are


def optimizers_of(companions: "Companions") -> tuple[torch.optim.Optimizer | None, torch.optim.Optimizer | None]:
    """Of the masks and of the backgrounds, where these learn."""
    return companions.mask_optimizer, companions.background_optimizer

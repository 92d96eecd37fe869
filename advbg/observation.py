"""What plugins are told of a training, at no cost where none listens."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from advbg.hooks import plugin_manager
from advbg.schedule import Phase

if TYPE_CHECKING:
    from advbg.companions import Companions

_hooks = plugin_manager.hook


class Observation:
    """What is known about the current step of a training.

    Attributes:
        phase: the one that plugins were told last.
        scalars: of the current step, each of shape () and without a graph; empty where nobody listens.
    """

    def __init__(self) -> None:
        self.phase: Phase | None = None
        self.scalars: dict[str, Tensor] = {}

    def report(self, name: str, value: Tensor | float) -> None:
        """Keep a scalar of the current step, where somebody listens.

        Raises:
            ValueError: where it is no scalar.
        """
        if isinstance(value, Tensor) and value.ndim:
            raise ValueError(f"`{name}` has shape {tuple(value.shape)}, expected a scalar, such as its mean")
        if _hooks.advbg_step.get_hookimpls():
            self.scalars[name] = torch.as_tensor(value).detach()

    def see_phase(self, companions: "Companions") -> None:
        """Tell the phase, where it is another than the last one told."""
        phase = companions.phase
        if phase != self.phase:
            self.phase = phase
            _hooks.advbg_phase_changed(companions=companions, phase=phase, step=companions.step_count)

    def see_composites(
        self,
        companions: "Companions",
        images: Float[Tensor, "batch channel height width"],
        mask: Float[Tensor, "batch 1 height width"],
        backgrounds: Float[Tensor, "batch channel height width"],
        composites: Float[Tensor, "batch channel height width"],
    ) -> None:
        """Tell of a batch that was composited; `backgrounds` may carry a graph, in whose backward pass harm shows."""
        if _hooks.advbg_step.get_hookimpls():
            spread, mean = torch.std_mean(backgrounds.detach())
            self.scalars |= {"mask_area": mask.mean(), "background_mean": mean, "background_spread": spread}
            if backgrounds.requires_grad:
                backgrounds.register_hook(self._see_harm)
        if _hooks.advbg_composite.get_hookimpls():
            _hooks.advbg_composite(
                companions=companions, images=images.detach(), mask=mask, composites=composites.detach()
            )

    def see_step(self, companions: "Companions", phase: Phase) -> None:
        """Tell of a step of the model's optimiser, after it."""
        scalars, self.scalars = self.scalars, {}
        if _hooks.advbg_step.get_hookimpls():
            _hooks.advbg_step(companions=companions, phase=phase, step=companions.step_count, scalars=scalars)
        self.see_phase(companions)

    def _see_harm(self, gradient: Tensor) -> None:
        lengths = torch.linalg.vector_norm(gradient.float().flatten(1), dim=1)
        self.scalars["harm"] = lengths.sum()

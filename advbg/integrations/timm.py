"""A training task for timm's own `train.py` and for scripts written like it."""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from timm.task import ClassificationTask
from timm.utils.model import unwrap_model
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from advbg.attachment import Attachment, watch_optimizer
from advbg.companions import Companions
from advbg.warning import warn
from advbg.wrapper import AdversarialBackground


class AdversarialBackgroundTask(ClassificationTask):
    """timm's `ClassificationTask` before adversarial backgrounds: a drop-in for it in timm's `train.py`.

    `trainable_module` is the plain model, so that optimisers, EMA, DDP, `compile` and checkpoints see what they see
    without the task. The companions' state is the task state, which timm's `CheckpointSaver` saves and
    `resume_task_checkpoint` restores. They attach themselves to the optimiser that steps the model's parameters.

    Args:
        model: from images of shape (batch, channel, height, width) to logits.
        criterion: the loss, as for `ClassificationTask`.
        criterion_kwargs: of the loss that timm creates where there is no `criterion`.
        device: of the task, as for `ClassificationTask`.
        dtype: of the task, as for `ClassificationTask`.
        verbose: as for `ClassificationTask`.
        **options: of `AdversarialBackground`: `mean`, `std`, `schedule`, `background` and so on. Without `mean` and
            `std`, the model's `pretrained_cfg` says how images were normalised.

    Attributes:
        companions: what trains beside the model; `companions.phase` says how far it is.

    Raises:
        TypeError: where an option is unknown or of a wrong type.
        ValueError: where an option is out of range; the message names it.
    """

    companions: Companions

    def __init__(
        self,
        model: nn.Module,
        criterion: Callable[..., Tensor] | None = None,
        criterion_kwargs: dict[str, Any] | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
        verbose: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            model,
            criterion=criterion,
            criterion_kwargs=criterion_kwargs,
            device=device,
            dtype=dtype,
            verbose=verbose,
        )
        # Not registered as a child: the companions are no part of the model.
        self.__dict__["companions"] = AdversarialBackground(model, **options).companions
        self._attach_to_whatever_steps_the_model()

    def forward(
        self,
        input: Tensor | dict[str, Tensor],  # noqa: A002
        target: Tensor,
        mask: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the loss on what the phase makes of the images.

        Args:
            input: float images of shape (batch, channel, height, width), normalised as the options say.
                timm's NaFlex loader gives a dict of patches instead, which is refused.
            target: what the criterion takes beside the logits.
            mask: the foreground, as for `AdversarialBackground.forward`, where the data say it.

        Returns:
            The `loss` and the model's `output`.

        Raises:
            TypeError: where `input` is a dict of patches.
            ValueError: where `input` does not fit the options, or `mask` the images.
        """
        if not isinstance(input, Tensor):
            raise TypeError(
                f"`input` (a {type(input).__name__}) must be a tensor of images: NaFlex patches have no background"
            )
        images, model = input, unwrap_model(self.trainable_module)
        attachment = self.companions.attachment
        if not model.training and attachment is not None:
            attachment.evaluated |= torch.is_grad_enabled()
        if model.training:
            if attachment is not None:
                watch_optimizer(self.companions)
            # Masks are learned through the plain model: no compiled graph, no gradient buckets.
            images = self.companions(model, model, input, mask, targets=target)
            target = cast("Tensor", self.companions.targets)  # which some tasks change with the background
        return super().forward(images, target)

    def get_task_state(self, module: nn.Module | None = None, ema: bool = False) -> dict[str, Any]:
        """What a checkpoint holds beside the model: the companions; nothing more for the EMA's sake."""
        state = super().get_task_state(module=module, ema=ema)
        return state if ema else {**state, "companions": self.companions.state_dict()}

    def load_task_state(
        self,
        state: Mapping[str, Any] | None,
        strict: bool = True,
        module: nn.Module | None = None,
        ema: bool = False,
    ) -> None:
        """Go on where a checkpoint was saved.

        Args:
            state: from `get_task_state`, or None where the checkpoint is of a plain run. Then the companions start
                afresh, with a warning.
            strict: as for any module.
            module: as for `ClassificationTask`.
            ema: whether the state belongs to the EMA, which has no companions.

        Raises:
            RuntimeError: where the saved companions are of another kind or shape.
        """
        super().load_task_state(dict(state) if state else None, strict=strict, module=module, ema=ema)
        if ema:
            return
        if not state or "companions" not in state:
            warn("the checkpoint was saved without adversarial backgrounds: their schedule starts at its first step")
            return
        self.companions.load_state_dict(state["companions"], strict=strict)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "AdversarialBackgroundTask":
        self.companions._apply(fn)
        return super()._apply(fn, *args, **kwargs)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy waits for an optimiser of its own."""
        super().__setstate__(state)
        self._attach_to_whatever_steps_the_model()

    def _attach_to_whatever_steps_the_model(self) -> None:
        """Wait for the first optimiser step of the model's parameters, since timm tells a task of no optimiser.

        An optimiser that steps after two batches in a row, neither of which the followed one stepped after, takes its
        place. Of several that step together, the first stays, and steps are counted once.
        """
        reference = weakref.ref(self)
        # Asked once: the parameters of large models take milliseconds to list, and every optimiser comes by here.
        is_ours: weakref.WeakKeyDictionary[torch.optim.Optimizer, bool] = weakref.WeakKeyDictionary()
        batches_at_step: weakref.WeakKeyDictionary[torch.optim.Optimizer, int] = weakref.WeakKeyDictionary()

        def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            task = reference()
            if task is None:
                return
            if optimizer not in is_ours:
                is_ours[optimizer] = _steps(optimizer, unwrap_model(task.trainable_module))
            if not is_ours[optimizer]:
                return
            companions, attachment = task.companions, task.companions.attachment
            before = batches_at_step.get(optimizer, companions.batches)
            batches_at_step[optimizer] = companions.batches
            if attachment is None or attachment.batches_at_step < before < companions.batches:
                Attachment(companions, optimizer)

        # Also right for timm's Lookahead, whose own hooks are never called: the optimiser inside it calls its own.
        weakref.finalize(self, register_optimizer_step_pre_hook(before_step).remove)


def _steps(optimizer: torch.optim.Optimizer, model: nn.Module) -> bool:
    ours = {id(parameter) for parameter in model.parameters()}
    return any(id(parameter) in ours for group in optimizer.param_groups for parameter in group["params"])

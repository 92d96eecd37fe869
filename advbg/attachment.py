"""What links companions to an optimiser, and to a model that is not wrapped."""

import inspect
import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from advbg.companions import Companions
from advbg.compositing import CompositeParameters
from advbg.options import Options
from advbg.pixel_space import PixelSpace
from advbg.schedule import Phase
from advbg.warning import warn

# Batches without a step, which few accumulate gradients over: rather, another optimiser steps.
_PATIENCE = 100

# Optimiser steps that nobody takes only to see whether a script runs.
STEPS_OF_A_TRAINING = 100

# The attachments of models that are not wrapped.
_ATTACHMENTS: weakref.WeakKeyDictionary[nn.Module, "Attachment"] = weakref.WeakKeyDictionary()


class Attachment:
    """The link between companions and an optimiser, and between them and a model's forward where there is no wrapper.

    Companions follow one optimiser: a new attachment takes the place of the one before.

    Args:
        companions: of a wrapper, or those that `attach` makes.
        optimizer: that trains the model.

    Raises:
        TypeError: where `optimizer` is none.

    Attributes:
        companions: what trains beside the model.
        handles: of the hooks that the attachment consists of.
        batches_at_step: that the model was trained with before the optimiser was called last.
        evaluated: whether the model has been called in evaluation mode since then, with gradients.
    """

    def __init__(self, companions: Companions, optimizer: torch.optim.Optimizer) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise TypeError(f"`optimizer` must be a torch.optim.Optimizer, got {type(optimizer).__name__}")
        if companions.attachment is not None:
            companions.attachment._end.detach()  # the training goes on
            companions.attachment.remove()
        optimizer = _innermost(optimizer)
        reached: Counter[Phase] = Counter()
        self._end = weakref.finalize(self, _warn_of_no_background, reached, _last_error())
        self.companions = companions
        companions.attached, companions.attachment = True, self
        self.batches_at_step, self.evaluated = companions.batches, False

        def after_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            if self.evaluated and companions.batches == self.batches_at_step:
                warn(
                    "the optimizer stepped, but the model was called in evaluation mode, in which it sees the images "
                    "as they are: call its `train()`; to keep statistics of BatchNorm, pass `hold_statistics=True`"
                )
            elif not companions.batches:
                warn(
                    "the optimizer stepped, but no image has passed through the wrapper or the attached model: call "
                    "these, not the model inside or its `forward`; one that was compiled and called before it was "
                    "attached does not know of it"
                )
            self.batches_at_step, self.evaluated = companions.batches, False
            # A fused optimiser is called by `GradScaler` in any case, and told here whether to leave the weights.
            overflow = getattr(optimizer, "found_inf", None)
            if overflow is None or not overflow.item():
                companions.step()
                reached[companions.phase] += 1

        self.handles: list[RemovableHandle] = [optimizer.register_step_post_hook(after_step)]
        weakref.finalize(optimizer, _forget_optimizer, weakref.ref(self)).atexit = False

    @property
    def phase(self) -> Phase:
        """The current phase: `classifier`, `mask` or `adversarial`."""
        return self.companions.phase

    @contextmanager
    def given(
        self,
        *,
        mask: Tensor | None = None,
        targets: Any | None = None,
        params: CompositeParameters | None = None,
    ) -> Iterator[None]:
        """Within the context, the model's forward gets what a wrapper's would: see `AdversarialBackground.forward`."""
        before = self.companions.given
        self.companions.given, self.companions.targets = {"mask": mask, "targets": targets, "params": params}, targets
        try:
            yield
        finally:
            self.companions.given = before

    def remove(self) -> None:
        """Undo everything: the model and the optimiser are as they were before.

        BatchNorm whose statistics were held stays in evaluation until the next `train()`.
        """
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
        self._let_go()
        self._end()

    def _let_go(self) -> None:
        # Another may have taken its place.
        if self.companions.attachment is self:
            self.companions.attached, self.companions.attachment = False, None


def attach(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    **options: Any,
) -> Attachment:
    """Train a model against backgrounds without wrapping it, for trainers that must see their own model class.

    A forward-pre-hook does what the wrapper's forward does; nothing is registered as a child of the model. What was
    attached to the model before is removed.

    Args:
        model: as for `AdversarialBackground`; its forward takes the images first.
        optimizer: the one that trains it.
        mean: as for `AdversarialBackground`.
        std: as for `AdversarialBackground`.
        **options: the other options of `AdversarialBackground`; None for their defaults.

    Returns:
        The attachment, with `phase`, `companions`, `given(mask=...)` and `remove()`.

    Raises:
        TypeError: where an argument is unknown or of a wrong type.
        ValueError: where an argument is out of range, or the model holds one that is wrapped or attached; the message
            names it.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
    companions = Companions(PixelSpace.of(model, mean, std), Options.of_attach(options), device_of(model))
    if model in _ATTACHMENTS:
        _ATTACHMENTS[model].remove()
    check_alone(model)

    def before_forward(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # A copy of the model, such as an EMA, copies its hooks as well; only the model itself is trained.
        if module is not model or companions.learning:
            return None
        if not module.training and companions.given.get("params") is None:
            attachment.evaluated |= torch.is_grad_enabled()
            return None
        watch_optimizer(companions)
        if args:
            images = companions(module, lambda inputs: module(inputs, *args[1:], **kwargs), args[0])
            return (images, *args[1:]), kwargs
        if not kwargs:
            raise TypeError(f"{type(module).__name__} was called without images")
        name = _first_argument(model, kwargs)
        images = companions(module, lambda inputs: module(**{**kwargs, name: inputs}), kwargs[name])
        return args, {**kwargs, name: images}

    attachment = Attachment(companions, optimizer)
    # First of the hooks, as a wrapper would be: those of the model, such as FSDP's, belong to each call of it.
    attachment.handles.append(model.register_forward_pre_hook(before_forward, prepend=True, with_kwargs=True))
    _ATTACHMENTS[model] = attachment
    return attachment


def check_options(options: Mapping[str, Any]) -> None:
    """Check the keyword arguments of `attach`, `mean` and `std` excepted, before there is a model.

    Raises:
        TypeError: where one is unknown or of a wrong type.
        ValueError: where one is out of range.
    """
    Options.of_attach({name: value for name, value in options.items() if name not in ("mean", "std")})


def check_alone(model: nn.Module) -> None:
    """Check that nothing composites within a model already, or its images would be composited twice.

    Raises:
        ValueError: where it is or holds a model that is wrapped or attached.
    """
    for name, module in model.named_modules():
        attachment = _ATTACHMENTS.get(module)
        if isinstance(vars(module).get("companions"), Companions) or (attachment is not None and attachment.handles):
            place = f"`model.{name}`" if name else "`model`"
            raise ValueError(
                f"{place} (a {type(module).__name__}) trains against backgrounds already: pass the plain model, or "
                "`remove()` its attachment first"
            )


@torch.compiler.disable
def check_not_attached(model: nn.Module) -> None:
    """Check that a model has not been attached after it was wrapped, or the wrapper's composites get backgrounds again.

    Raises:
        ValueError: where it has.
    """
    attachment = _ATTACHMENTS.get(model)
    if attachment is not None and attachment.handles:
        raise ValueError(
            f"the wrapped model (a {type(model).__name__}) has been attached as well, so its images would be "
            "composited twice: call the model, not the wrapper, or `remove()` its attachment first"
        )


@torch.compiler.disable
def watch_optimizer(companions: Companions) -> None:
    """Warn of a batch of a training whose companions follow no optimiser, one that is gone, or one that never steps."""
    if not torch.is_grad_enabled():
        return
    attachment, again = companions.attachment, "call `wrapper.attach(optimizer)`, or `advbg.attach` again"
    if not companions.attached:
        warn(
            "the model trains against backgrounds, but these follow no optimizer (any more): their phases do not "
            f"advance; {again}"
        )
    elif attachment is not None and companions.batches - attachment.batches_at_step == _PATIENCE:
        warn(
            f"the optimizer that the backgrounds follow has not stepped for {_PATIENCE} batches, so their phases "
            f"do not advance; if another steps, {again}"
        )


def _forget_optimizer(reference: "weakref.ref[Attachment]") -> None:
    """Once an optimiser is gone, nothing steps its companions."""
    attachment = reference()
    if attachment is not None:
        attachment._let_go()


def _last_error() -> int:
    """The identity of what Python's or a notebook's prompt has last shown; keeping it would keep its frames alive."""
    return id(getattr(sys, "last_value", None))


def _warn_of_no_background(steps: Counter[Phase], error_before: int) -> None:
    """At the end of a training whose schedule was longer, by the phases that its steps led to.

    One that failed has said so itself, and one that was to learn masks alone ends where the next phase begins.
    """
    failed = _last_error() != error_before or sys.exc_info()[0] is not None
    if steps.total() >= STEPS_OF_A_TRAINING and "adversarial" not in steps and not failed:
        warnings.warn(
            f"the training ended after {steps.total()} steps, before any other background: its schedule was still in "
            f"the {list(steps)[-1]} phase; pass `schedule=Schedule.fractions(total_steps)`",
            stacklevel=1,
        )


def _innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """What steps: optimisers of Accelerate, timm's Lookahead and SAM have it inside, and no hooks of their own."""
    for name in ("optimizer", "_base_optimizer", "base_optimizer"):
        inner = getattr(optimizer, name, None)
        if isinstance(inner, torch.optim.Optimizer):
            return _innermost(inner)
    return optimizer


def device_of(model: nn.Module) -> torch.device:
    """Where a model lies; the CPU where it has no tensors."""
    return next((tensor.device for tensor in (*model.parameters(), *model.buffers())), torch.device("cpu"))


def _first_argument(model: nn.Module, kwargs: Mapping[str, Any]) -> str:
    """The images among named arguments: the first in the model's signature, since collators may put the labels first.

    Models of PEFT take whatever they are called with, but say what it is called.
    """
    names = [*inspect.signature(type(model).forward).parameters, getattr(model, "main_input_name", None)]
    return next((name for name in names if name in kwargs), next(iter(kwargs)))

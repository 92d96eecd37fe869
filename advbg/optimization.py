"""How the companions learn: their own optimisers, apart from the model's."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from advbg.backgrounds import Mixture

_GRADIENT_NORM = 1.0


def trainable_parameters(part: object) -> list[nn.Parameter]:
    """The parameters of a part that learns; none for a plain function."""
    if not isinstance(part, nn.Module):
        return []
    return [parameter for parameter in part.parameters() if parameter.requires_grad]


def make_optimizer(part: object) -> torch.optim.Optimizer | None:
    """Adam at the part's own `learning_rate` (1e-3 where it has none), or None where nothing learns."""
    groups = _parameter_groups(part)
    return torch.optim.Adam(groups, fused=True) if groups else None


def _parameter_groups(part: object) -> list[dict[str, Any]]:
    if isinstance(part, Mixture):
        return [group for source in part.sources for group in _parameter_groups(source)]
    parameters = trainable_parameters(part)
    return [{"params": parameters, "lr": getattr(part, "learning_rate", 1e-3)}] if parameters else []


def accumulate(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor | None]) -> None:
    """Add gradients to those that are there; None adds nothing."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def begin_batch(model: nn.Module, part: object) -> None:
    """Before backgrounds are drawn: refuse a recomputation, and forget gradients of a step that never came.

    Where `GradScaler` skips a step or the user drops a batch, the user clears the model's gradients; those of the part
    that learns from the same backward pass go with them. Gradients that are being accumulated stay.

    Args:
        model: the user's.
        part: what learns from the user's backward pass.

    Raises:
        RuntimeError: where activation checkpointing calls again, in the backward pass, what drew backgrounds.
    """
    if torch._C._current_graph_task_id() != -1:
        raise RuntimeError(
            "images were passed in again during a backward pass, as `torch.utils.checkpoint` does: other backgrounds "
            "would be drawn for the same batch. Checkpoint layers inside the model, or replay draws with `params=`"
        )
    left_over = [parameter for parameter in trainable_parameters(part) if parameter.grad is not None]
    if not left_over:  # as nearly always; the parameters of large models take milliseconds to list
        return
    trained = trainable_parameters(model)
    if trained and all(parameter.grad is None for parameter in trained):
        for parameter in left_over:
            parameter.grad = None


def descend(optimizer: torch.optim.Optimizer | None) -> None:
    """Take one clipped step and clear the gradients; a gradient that is not finite counts as zero.

    Nothing here waits for the GPU.

    Args:
        optimizer: from `make_optimizer`; None takes no step.
    """
    if optimizer is None:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    norm = torch.nn.utils.get_total_norm(gradients)
    finite = torch.isfinite(norm)
    for gradient in gradients:
        gradient.copy_(torch.where(finite, gradient, 0.0))
    torch.nn.utils.clip_grads_with_norm_(parameters, _GRADIENT_NORM, torch.where(finite, norm, 0.0))
    optimizer.step()
    optimizer.zero_grad()


def reset_state(optimizer: torch.optim.Optimizer | None, parameters: Iterable[nn.Parameter]) -> None:
    """Drop what an optimiser remembers of parameters that were drawn anew."""
    if optimizer is not None:
        for parameter in parameters:
            optimizer.state.pop(parameter, None)


@contextmanager
def evaluating(part: object) -> Iterator[None]:
    """Hold every module of a part in evaluation mode, without calling anybody's `train()`; a function has none."""
    training = [module for module in part.modules() if module.training] if isinstance(part, nn.Module) else []
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
            # timm's LeViT and others keep in evaluation what they compute of their weights, until their own `train()`.
            module.__dict__.get("attention_bias_cache", {}).clear()


def keeping_dtype(move: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Turn what `Module.to` does to a tensor into one that changes its device alone."""

    def follow(tensor: Tensor) -> Tensor:
        moved = move(tensor)
        return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

    return follow


def place(companion: Any, device: torch.device) -> Any:
    """Move a companion that is a module, in the layout in which CPUs convolve few channels twice as fast."""
    if not isinstance(companion, nn.Module):
        return companion
    return companion.to(device=device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

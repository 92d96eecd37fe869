"""Beside data-parallel training: the same masks on every process, other backgrounds on each."""

import torch
import torch.distributed as dist
from torch import nn

from advbg.optimization import trainable_parameters


def rank() -> int:
    """This process's number; 0 where there is but one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def synchronize(part: object, optimizer: torch.optim.Optimizer | None) -> None:
    """Make a step of `optimizer` the same on all processes: their mean gradient, from the same weights.

    All processes must call it in the same step. A parameter without a gradient counts as one of zeros.

    Args:
        part: whose gradients become their mean; its buffers become those of process 0, and so do its parameters
            before the first step, since a module of the user's own may have been initialised apart.
        optimizer: that steps it; None, like a single process, has nothing to do.
    """
    if not isinstance(part, nn.Module) or optimizer is None or not dist.is_available() or not dist.is_initialized():
        return
    parameters = trainable_parameters(part)
    with torch.no_grad():
        for tensor in [*part.buffers(), *([] if optimizer.state else part.parameters())]:
            # A copy, since what is sent must be contiguous and convolutions lie channels last.
            values = tensor.contiguous()
            dist.broadcast(values, src=0)
            tensor.copy_(values)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        means = (flat / dist.get_world_size()).split([gradient.numel() for gradient in gradients])
        for parameter, gradient, mean in zip(parameters, gradients, means, strict=True):
            parameter.grad = gradient.copy_(mean.view(gradient.shape))


def reseed_for_rank(generator: torch.Generator, saved_rank: int) -> None:
    """Give a process that has loaded another one's random state a stream of its own.

    Where each process loads the state that it saved, nothing changes. Where one process's state is loaded by several,
    each of the others takes a seed drawn from that state, so that no two of them draw the same backgrounds.

    Args:
        generator: in the state that was loaded.
        saved_rank: of the process that saved it.
    """
    if rank() != saved_rank:
        seeds = torch.randint(2**62, (rank() + 1,), generator=generator, device=generator.device)
        generator.manual_seed(int(seeds[-1]))

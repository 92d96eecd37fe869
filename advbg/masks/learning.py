"""The mask phase's own backward pass (paper, section III-B)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from advbg.masks.objectives import MaskObjective
from advbg.masks.resolution import enlarge, reduce_to_mask_size
from advbg.optimization import accumulate, evaluating, trainable_parameters
from advbg.pixel_space import PixelSpace


def check_learned(mask_generator: str | Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer | None) -> None:
    """Check that masks can be asked for: one of the library's own mask generators has learned for at least a step.

    Args:
        mask_generator: what the user chose; a module of one's own is taken as it is.
        optimizer: its own, or None where it has nothing to learn.

    Raises:
        ValueError: where it has not.
    """
    if isinstance(mask_generator, str) and optimizer is not None and not optimizer.state:
        raise ValueError(
            f"the mask generator {mask_generator!r} has learned nothing: pass `mask=` with every batch, or with none "
            "(the first decides) and a `schedule` with mask steps"
        )


def make_masks(
    mask_generator: Callable[[Tensor], Tensor],
    images: Float[Tensor, "batch channel height width"],
    pixel_space: PixelSpace,
) -> Tensor:
    """Ask a mask generator for the masks of images, at 64 pixels a side at most.

    Args:
        mask_generator: from pixels in [0, 1] to masks in [0, 1].
        images: the model's input.
        pixel_space: the normalisation of the images.

    Returns:
        Masks in [0, 1] of shape (batch, 1, rows, columns).

    Raises:
        TypeError: where the mask generator returns no tensor.
        ValueError: where it returns another shape, or whole numbers.
    """
    # Shrunk first, so that less has to be turned into pixels.
    pixels = pixel_space.to_pixels(reduce_to_mask_size(images.float()))
    mask = mask_generator(pixels)
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"the mask generator {type(mask_generator).__name__} returned a {type(mask).__name__}, expected one tensor "
            "of masks in [0, 1]"
        )
    expected = (len(pixels), 1, *pixels.shape[-2:])
    if tuple(mask.shape) != expected:
        raise ValueError(
            f"the mask generator {type(mask_generator).__name__} returned shape {tuple(mask.shape)} for pixels of "
            f"shape {tuple(pixels.shape)}, expected {expected}"
        )
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise ValueError(
            f"the mask generator {type(mask_generator).__name__} returned {mask.dtype}, expected bool or a float in "
            "[0, 1]"
        )
    return mask.float() if mask.dtype == torch.bool else mask


def learn_masks(
    mask_generator: Callable[[Tensor], Tensor],
    objective: MaskObjective,
    model: nn.Module,
    call: Callable[[Tensor], Any],
    images: Float[Tensor, "batch channel height width"],
    targets: Any | None,
    pixel_space: PixelSpace,
    task: str,
) -> Float[Tensor, ""]:
    """Add a batch's gradient to the mask generator's, and to nothing else.

    Args:
        mask_generator: from pixels in [0, 1] to masks in [0, 1].
        objective: what masks are rated by.
        model: held in evaluation mode for the while; its parameters get no gradient.
        call: calls the model on images.
        images: the model's input.
        targets: for the objective.
        pixel_space: the normalisation of the images.
        task: its name. In classification, the objective's model runs in bfloat16 where the user's autocast says so, and
            in full precision otherwise; the objective sees float32 in either case.

    Returns:
        The objective's loss, without a graph.

    Raises:
        TypeError: where the mask generator returns no tensor.
        ValueError: where it returns no masks of these images, the objective more than one number, or the model passes
            no gradient to its input.
    """
    parameters = trainable_parameters(mask_generator)
    images, device = images.detach(), images.device.type
    # Not in float16, whose gradients vanish, since this loss has no GradScaler of its own; and not where a difference
    # may be lost beside an offset, which logits have not.
    autocast = torch.is_autocast_enabled(device) and task == "classification"
    bfloat16 = autocast and torch.get_autocast_dtype(device) == torch.bfloat16

    passed, reached = [], []

    def call_as_trained(inputs: Tensor) -> Any:
        if inputs.requires_grad:
            passed.append(inputs.register_hook(lambda _: reached.append(True)))
        # The cache of older releases of torch hands weights that were cast under `no_grad` to the user's own call.
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16, cache_enabled=False):
            outputs = call(inputs)
        if not torch.is_grad_enabled():
            outputs = keep_outputs(outputs)
        return tree_map_only(Tensor, _in_full_precision, outputs) if bfloat16 else outputs

    if torch.is_autocast_enabled(device):
        images = images.float()
    with torch.autocast(device, enabled=False):
        mask = enlarge(make_masks(mask_generator, images, pixel_space), images.shape[-2:])
        # The backward pass as well, since activation checkpointing calls layers again in it.
        with evaluating(model):
            loss = objective(call_as_trained, images, mask, targets)
            if loss.ndim:
                raise ValueError(
                    f"`mask_objective` ({type(objective).__name__}) returned a loss of shape {tuple(loss.shape)}, "
                    "expected one number for the batch"
                )
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    if passed and not reached:
        raise ValueError(
            f"masks cannot be learned: {type(model).__name__} passes no gradient to its input, as under "
            "`torch.no_grad()` or behind `detach()`: freeze layers by `requires_grad_(False)` instead, or pass `mask=`"
        )
    accumulate(parameters, gradients)
    return loss.detach()


def keep_outputs(outputs: Any) -> Any:
    """Copy outputs that the model's next call may overwrite, as CUDA graphs of `torch.compile` do without gradients."""
    return tree_map_only(Tensor, torch.clone, outputs)


def _in_full_precision(output: Tensor) -> Tensor:
    return output.float() if output.is_floating_point() else output

"""The max step: the user's own backward pass pushes the backgrounds uphill."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx

# A monochrome background brighter than this in the mean is pushed down (paper, section III-C).
FILL_LIMIT = 0.5


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, backgrounds: Tensor) -> Tensor:
        monochrome = backgrounds.shape[1] == 1
        ctx.overfull = backgrounds.mean() > FILL_LIMIT if monochrome else None  # pyright: ignore[reportAttributeAccessIssue]
        return backgrounds.view_as(backgrounds)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        # In float32, since the squares of a scaled half-precision gradient overflow.
        gradient = gradients[0].float()
        # Divided by the largest entry first, so that the norm neither overflows nor underflows.
        gradient = gradient / gradient.abs().amax(dim=(1, 2, 3), keepdim=True)
        uphill = gradient / torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True)
        # 0/0 (a clean image) and what overflowed both end as no push at all, image by image.
        finite = torch.isfinite(uphill).all(dim=1, keepdim=True).all(dim=2, keepdim=True).all(dim=3, keepdim=True)
        descent = torch.where(finite, -uphill, 0.0)
        overfull = ctx.overfull  # pyright: ignore[reportAttributeAccessIssue]
        if overfull is not None:
            descent = descent + torch.where(overfull, gradient[0].numel() ** -0.5, 0.0)
        return descent.to(gradients[0].dtype)


def reverse_gradient(
    backgrounds: Float[Tensor, "batch channel height width"],
) -> Float[Tensor, "batch channel height width"]:
    """Pass backgrounds through and turn their gradient around in the backward pass.

    A descent step on what made the backgrounds then climbs the user's loss (the `max over f_b` of the paper's
    objective) in the very pass that lowers it for the model. Each image's gradient has length 1 whatever the loss,
    the batch size, AMP's loss scale or gradient accumulation do; an image whose gradient is zero or not finite has
    none. Monochrome backgrounds whose batch mean is over 0.5 are also pushed down by a gradient of the same length
    (the paper's `relu(mean(b) - 0.5)`).

    Args:
        backgrounds: pixels in [0, 1], any float dtype.

    Returns:
        The same values, of the same dtype and layout.
    """
    return _ReverseGradient.apply(backgrounds)

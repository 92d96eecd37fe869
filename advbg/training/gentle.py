"""Fine-tuning that keeps what a pre-trained model knows of the world outside of the studio."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from advbg.training.testing import predict

# How far weights go from the first ones to those at the end: with 0.5, what was learned from other backgrounds fades;
# with 0.75, what was known of other cameras does.
INTERPOLATION = 0.6

# Of the squared weights, when the classifier is fitted to frozen features.
_PENALTY = 0.01
_ITERATIONS = 200
# Pairs of weights and gradients that it remembers; torch's 100 of a large classifier are gigabytes.
_REMEMBERED = 10

_NEEDED = "`tuning` (='gentle') needs a timm model whose `get_classifier()` is a `Linear`"


def check_classifier(model: nn.Module) -> nn.Linear:
    """Find the layer that `fit_classifier` fits.

    Args:
        model: of timm.

    Raises:
        ValueError: where its classifier is no single linear layer.
    """
    described: Any = model
    classifier = described.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(classifier, nn.Linear):
        raise ValueError(
            f"{_NEEDED}, but that of {type(model).__name__} is {type(classifier).__name__}: pass `--tuning plain`"
        )
    return classifier


def fit_classifier(
    model: nn.Module,
    pixels: UInt8[Tensor, "count 3 height width"],
    targets: Int64[Tensor, "count"],
    *,
    bfloat16: bool,
) -> None:
    """Fit the classifier alone, by logistic regression on the features of the model as it is.

    A classifier that begins anywhere bends the features before it has learned to use them (Kumar et al., *Fine-tuning
    can distort pretrained features*, ICLR 2022). Features are taken as they are: the larger they are, the less the
    penalty of its weights counts.

    Args:
        model: pre-trained; left in evaluation mode.
        pixels: of the training images, on the CPU.
        targets: indices of their classes.
        bfloat16: whether to call the model under autocast.

    Raises:
        ValueError: where the model's classifier is no single linear layer, or its logits are more than what that says.
    """
    classifier, found, outputs = check_classifier(model), [], []

    def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        found.append(inputs[0].float())
        outputs.append(output.float().cpu())

    hook = classifier.register_forward_hook(keep)
    try:
        logits = predict(model, pixels, bfloat16=bfloat16)
    finally:
        hook.remove()
    if not torch.equal(logits, torch.cat(outputs)):
        raise ValueError(
            f"{_NEEDED}, but the logits of {type(model).__name__} are more than its output: pass `--tuning plain`"
        )
    features = torch.cat(found)
    fitted = _logistic_regression(features, targets.to(features.device), classifier.out_features)
    with torch.no_grad():
        classifier.weight.copy_(fitted[:, :-1])
        if classifier.bias is not None:
            classifier.bias.copy_(fitted[:, -1])


def _logistic_regression(
    features: Float[Tensor, "count channel"], targets: Int64[Tensor, "count"], classes: int
) -> Float[Tensor, "classes channel_and_bias"]:
    extended = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    weights = torch.zeros(classes, extended.shape[1], device=features.device, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights], max_iter=_ITERATIONS, history_size=_REMEMBERED, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(extended @ weights.T, targets) + _PENALTY / 2 * weights[:, :-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    return weights.detach()


@torch.no_grad()
def interpolate_weights(model: nn.Module, first: Mapping[str, Tensor]) -> None:
    """Move weights two fifths of the way back to the first ones (WiSE-FT, Wortsman et al., CVPR 2022).

    Args:
        model: trained.
        first: its state before the training.
    """
    moved = set()
    for name, tensor in model.state_dict().items():
        # Weights that layers share have several names.
        if tensor.is_floating_point() and tensor.data_ptr() not in moved:
            tensor.copy_(torch.lerp(first[name].to(tensor), tensor, INTERPOLATION))
            moved.add(tensor.data_ptr())


@contextmanager
def interpolated(model: nn.Module, first: Mapping[str, Tensor]) -> Iterator[None]:
    """Rate a model with interpolated weights in the middle of its training, and let it go on from where it was.

    Args:
        model: in training.
        first: as for `interpolate_weights`.
    """
    last = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        interpolate_weights(model, first)
        yield
    finally:
        model.load_state_dict(last)

"""What a pre-trained model remembers of the images that it was trained on."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from advbg.naming import name_some
from advbg.warning import warn


def hold_statistics(model: nn.Module) -> None:
    """Keep the statistics of BatchNorm, until somebody calls the model's `train()` again.

    Those of a studio are of one colour: a pre-trained model that moves to them no longer knows the features that it was
    trained on, whatever backgrounds it is shown. The option `hold_statistics` of `AdversarialBackground` and `attach`
    does it in every step; this is for trainings without them.

    Args:
        model: in training mode, wrapped or not; one without BatchNorm stays as it is.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def keep_held(model: nn.Module, *, first: bool) -> None:
    """Hold the statistics of a model that is about to be called, whoever has called its `train()` before.

    Layers whose momentum is None gather in training: so `torch.optim.swa_utils.update_bn` and Lightning's averaging of
    weights leave them for as long as they gather anew, and would end with nothing.

    Args:
        model: wrapped by nothing of ours.
        first: whether it is the first call, in which there is a warning of statistics that nothing has gathered.
    """
    if first and (empty := [name for name, module in model.named_modules() if _has_gathered_nothing(module)]):
        warn(
            f"`hold_statistics` (=True) holds the mean of 0 and the variance of 1 that {len(empty)} layers began with "
            f"({name_some(empty)}): load pre-trained weights first, or leave it out"
        )
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.train(model.training and module.momentum is None)


def _has_gathered_nothing(module: nn.Module) -> bool:
    if not isinstance(module, _BatchNorm):
        return False
    mean, variance = module.running_mean, module.running_var
    if mean is None or variance is None or isinstance(mean, nn.UninitializedBuffer):
        return False
    return not mean.any() and bool((variance == 1).all())

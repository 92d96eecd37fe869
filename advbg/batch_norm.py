"""What a pre-trained model remembers of the images that it was trained on."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def hold_statistics(model: nn.Module) -> None:
    """Keep the statistics of BatchNorm, until somebody calls the model's `train()` again.

    The option `hold_statistics` of `AdversarialBackground` and `attach` does it in every step; this is for trainings
    without them.

    Those of a studio are of one colour: a pre-trained model that moves to them no longer knows the features that it was
    trained on, whatever backgrounds it is shown.

    Args:
        model: in training mode, wrapped or not; one without BatchNorm stays as it is.
    """
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()

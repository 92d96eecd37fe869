"""What `fit` does to the images that it trains on."""

import pytest
import torch

from advbg.training.augmentation import MildAugmentation
from advbg.training.fit import fit
from advbg.training.settings import FitSettings
from tests.models import tiny_classifier
from tests.training.made_up import some_data


def _mirrored(hflip: float) -> torch.Tensor:
    """Whether each of many ramps, dark at the left, is dark at the right afterwards."""
    ramps = torch.linspace(0, 1, 32).expand(200, 3, 32, 32)
    torch.manual_seed(0)
    changed, _ = MildAugmentation(hflip)(ramps.clone(), None)
    return changed[..., -8:].mean(dim=(1, 2, 3)) < changed[..., :8].mean(dim=(1, 2, 3))


@pytest.mark.parametrize(("hflip", "least", "most"), [(0.0, 0, 0), (0.5, 70, 130), (1.0, 200, 200)])
def test_as_many_images_are_mirrored_as_is_said(hflip: float, least: int, most: int) -> None:
    assert least <= _mirrored(hflip).sum() <= most


def test_silhouettes_move_with_their_images() -> None:
    silhouettes = torch.zeros(20, 1, 32, 32, dtype=torch.bool)
    silhouettes[..., 4:20, 6:16] = True
    images, moved = MildAugmentation()(silhouettes.float().expand(-1, 3, -1, -1).clone(), silhouettes)
    assert moved is not None
    assert not torch.equal(moved, silhouettes)
    assert ((images[:, :1] > 0.5) == moved).float().mean() > 0.99


def test_a_training_mirrors_as_many_as_its_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(
        "advbg.training.fit.MildAugmentation", lambda hflip: made.append(hflip) or MildAugmentation(hflip)
    )
    fit(tiny_classifier(), some_data(), FitSettings("baseline", epochs=2, batch_size=6, hflip=0.125))
    assert set(made) == {0.125}

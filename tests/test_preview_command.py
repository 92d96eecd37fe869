"""What `advbg preview` says of companions that it cannot show."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from advbg import AdversarialBackground, Schedule
from tests.command_line import run
from tests.models import a_batch, tiny_classifier


def test_a_training_that_was_given_its_masks_has_none_to_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrapper = AdversarialBackground(tiny_classifier(), schedule=Schedule(0, 5))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    images, _ = a_batch()
    wrapper(images, mask=images.amax(dim=1) > 0).sum().backward()
    optimizer.step()
    torch.save(wrapper.companions.state_dict(), tmp_path / "companions.pt")
    Image.new("RGB", (32, 32)).save(tmp_path / "image.png")
    figure = tmp_path / "figure.png"
    arguments = ["preview", tmp_path / "image.png", "--output", figure, "--companions", tmp_path / "companions.pt"]
    assert run(monkeypatch, *arguments) == 2
    assert "was given its masks, so its companions have learned none to show" in capsys.readouterr().err
    assert not figure.exists()

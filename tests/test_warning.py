"""Where warnings point: at the line of a script by which one can mend it, not into the library."""

import subprocess
import sys
from pathlib import Path

import pytest

_BEGINNING = """
import torch
from torch import nn

from advbg import AdversarialBackground, attach

model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
"""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("AdversarialBackground(model, mean=0, std=1)(images)  # here", "these follow no optimizer"),
        (
            "wrapper = AdversarialBackground(model, mean=0, std=1)\n"
            "wrapper.attach(optimizer)\n"
            "wrapper(images, mask=torch.zeros(4, 1, 32, 32))  # here",
            "the given masks of all 4 images are empty",
        ),
        ("attach(model, optimizer, mean=0, std=1)\noptimizer.step()  # here", "no image has passed"),
        (
            "def step(model, images):\n    model(images).sum().backward()  # here\n"
            "attachment = attach(model, optimizer, mean=0.5, std=0.5)\nstep(model, 0.5 + 0.1 * images)",
            "pass the `mean` and `std`",
        ),
    ],
    ids=["wrapper", "given masks", "optimizer", "attached model in a function"],
)
def test_a_warning_names_the_line_of_the_users_script(tmp_path: Path, lines: str, message: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(_BEGINNING + lines, encoding="utf-8")
    number = next(
        number for number, line in enumerate(script.read_text("utf-8").splitlines(), 1) if line.endswith("# here")
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    said = [line for line in ran.stderr.splitlines() if "UserWarning" in line]
    assert len(said) == 1, ran.stderr
    assert said[0].startswith(f"{script}:{number}: UserWarning: "), ran.stderr
    assert message in said[0]

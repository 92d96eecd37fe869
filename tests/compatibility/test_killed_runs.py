"""`examples/ddp_train.py` on two processes, killed with SIGKILL in each phase, and on another number of processes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.compatibility import killed_run
from tests.compatibility.torchrun import torchrun

# 9 steps of the classifier, 2 of the masks, 19 before adversarial backgrounds.
_OPTIONS = ("--model=test_resnet", "--image-size=16", "--batch-size=8", "--steps=30", "--save-every=2")


def _weights(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "model.pt", weights_only=True)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The weights of a run that nobody killed."""
    folder = tmp_path_factory.mktemp("unbroken")
    done = torchrun(killed_run.EXAMPLE, *_OPTIONS, f"--output={folder}")
    assert done.returncode == 0, done.stderr
    return _weights(folder)


@pytest.mark.parametrize(("phase", "step"), [("classifier", 6), ("mask", 11), ("adversarial", 20)])
def test_a_killed_run_goes_on_from_its_last_save_and_ends_with_the_same_weights(
    unbroken: dict[str, Any], tmp_path: Path, phase: str, step: int
) -> None:
    killed = torchrun(Path(killed_run.__file__), str(step), *_OPTIONS, f"--output={tmp_path}")
    assert killed.returncode != 0
    assert "Signal 9 (SIGKILL)" in killed.stderr
    assert f"{phase} phase" in killed.stdout.splitlines()[-1]
    assert not (tmp_path / "model.pt").exists()
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == (step - 1) // 2 * 2

    resumed = torchrun(killed_run.EXAMPLE, *_OPTIONS, f"--output={tmp_path}")
    assert resumed.returncode == 0, resumed.stderr
    weights = _weights(tmp_path)
    assert weights.keys() == unbroken.keys()
    assert all(torch.equal(weights[name], unbroken[name]) for name in weights)


def test_a_checkpoint_of_two_processes_goes_on_with_one_and_that_of_one_with_two(tmp_path: Path) -> None:
    for processes, steps in ((2, 4), (1, 6), (2, 8)):
        options = [option for option in _OPTIONS if not option.startswith("--steps")]
        done = torchrun(killed_run.EXAMPLE, *options, f"--steps={steps}", f"--output={tmp_path}", processes=processes)
        assert done.returncode == 0, done.stderr
        assert f"step {steps} on {processes} processes, adversarial phase" in done.stdout
        saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
        assert (saved["step"], len(saved["companions"])) == (steps, processes)
    streams = [companions["_extra_state"]["generator"] for companions in saved["companions"]]
    assert not torch.equal(*streams)

"""Run `examples/ddp_train.py` in a process that kills itself with SIGKILL within a step."""

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

EXAMPLE = Path(__file__).parents[2] / "examples" / "ddp_train.py"


def main(step: int) -> None:
    """Train until, in this step of the model's optimiser, gradients are there but not used yet."""
    steps = 0

    def before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        nonlocal steps
        # The companions' own optimisers are of another class.
        steps += type(optimizer) is torch.optim.AdamW
        if steps == step:
            os.kill(os.getpid(), signal.SIGKILL)

    register_optimizer_step_pre_hook(before_step)
    runpy.run_path(str(EXAMPLE), run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv.pop(1)))

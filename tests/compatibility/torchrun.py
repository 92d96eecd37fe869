"""Start scripts on several processes of this machine."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def torchrun(script: Path, *arguments: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    """Run a script to its end, with a thread for each process."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
    return subprocess.run(
        [*command, str(script), *arguments], capture_output=True, text=True, check=False, cwd=_ROOT, env=environment
    )

"""Real images, and the examples as a user would run them."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[2]
_AMAZON = _ROOT.parent / "shared" / "data" / "office10" / "amazon"


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Two classes of four product photographs each."""
    if not _AMAZON.is_dir():
        pytest.skip(f"{_AMAZON} is not there")
    folder = tmp_path / "images"
    for name in ("bike", "mug"):
        (folder / name).mkdir(parents=True)
        for file in sorted((_AMAZON / name).glob("*.jpg"))[:4]:
            shutil.copy(file, folder / name)
    return folder


@pytest.fixture
def run_example(image_folder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs an example on small images for four epochs of two steps, so that every phase has its turn."""

    def run(name: str, *arguments: str) -> Any:
        spec = importlib.util.spec_from_file_location(name, _ROOT / "examples" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        options = {"output": tmp_path / "output", "image-size": 32, "batch-size": 4, "epochs": 4}
        given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        return module.main([str(image_folder), *given, *arguments])

    return run

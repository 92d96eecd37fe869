"""A made-up study, and a finished run of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.benchmark.case_study.commands import command
from tests.command_line import run
from tests.training.made_up import a_folder, a_picture


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both studies' folders with three classes of blocks, insulators, and photographs."""
    root = tmp_path_factory.mktemp("data")
    for index, name in enumerate(
        ("office10/amazon", "office10/webcam", "office10/dslr", "fruits/studio", "fruits/shop")
    ):
        a_folder(root / name, seed=100 * index)
    for kind in ("IPL", "IPN", "IPV", "ISB"):
        for number in (1, 2, 3, 4):
            folder = root / "components" / f"data_{kind}_{number}"
            folder.mkdir(parents=True)
            for index in range(number + 2):
                a_picture("red", index).save(folder / f"{index}.jpg")
    (root / "photographs").mkdir()
    generator = np.random.default_rng(0)
    for index in range(9):
        noise = generator.integers(0, 256, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / "photographs" / f"{index}.png")
    return root


@pytest.fixture(scope="session")
def finished(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of all rows with two seeds, published."""
    folder = tmp_path_factory.mktemp("case-study")
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = command(data_dir, folder / "run", "--seeds", "0,1", "--published", folder / "docs")
        assert run(monkeypatch, *arguments) == 0
    return folder

"""The made-up folder that `advbg train` is tried on."""

from pathlib import Path

import pytest

from tests.training.made_up import a_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three classes of ten images."""
    return a_folder(tmp_path_factory.mktemp("images") / "train", 10)

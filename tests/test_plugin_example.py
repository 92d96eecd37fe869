"""The example package, used as a third party would use it: installed, found by its entry points, never imported."""

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_EXAMPLE = _ROOT / "examples" / "plugin_example"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("hatchling") is None, reason="hatchling, which builds the example, is not installed"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package in it, as `pip install` lays it out."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), str(_EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def _run(installed: Path, script: str) -> str:
    path = os.pathsep.join([str(installed), str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        cwd=installed,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_example_adds_a_background_and_a_task_and_trains_with_both(installed: Path) -> None:
    pytest.importorskip("pyfastnoiselite", reason="pyfastnoiselite, which the example needs, is not installed")
    listing = _run(
        installed,
        """
        import sys
        import torch
        from advbg import AdversarialBackground, Schedule

        net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 3))
        options = {"background": "perlin", "task": "probabilities"}
        wrapper = AdversarialBackground(net, schedule=Schedule(0, 1), clean_share=0.0, **options)
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        images = torch.zeros(6, 3, 20, 24)
        images[:, :, 5:15, 5:15] = 0.8
        for _ in range(3):
            wrapper(images).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        assert wrapper.phase == "adversarial"
        assert wrapper.companions.mask_loss.isfinite()

        source = wrapper.companions.source
        assert type(source).__module__ == "advbg_perlin.backgrounds"
        first, again = (source.sample(6, (3, 20, 24), torch.Generator().manual_seed(1)) for _ in range(2))
        assert torch.equal(first, again)
        assert not torch.equal(first, source.sample(6, (3, 20, 24), torch.Generator().manual_seed(2)))
        assert 0 <= first.min() < first.max() <= 1 and first.std() > 0.1

        from advbg.cli import main
        sys.argv = ["advbg", "plugins"]
        main()
        """,
    )
    assert [line for line in listing.splitlines() if "perlin" in line and "0.1.0" in line and "advbg-perlin" in line]
    assert "advbg_background_sources" in listing


def test_the_environment_decides_which_entry_points_load(installed: Path) -> None:
    loaded = _run(
        installed,
        """
        import os
        from advbg.hooks import PluginManager

        for choice in ("", "probabilities"):
            os.environ["ADVBG_PLUGINS"] = choice
            manager = PluginManager()
            manager.load()
            print([name for name in ("perlin", "probabilities") if manager.has_plugin(name)])
        """,
    )
    assert loaded.splitlines() == ["[]", "['probabilities']"]

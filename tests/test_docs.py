"""The documentation does what it says."""

import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from advbg import plugin_manager
from advbg.hooks import task_names
from advbg.training.tunings import OF_RANDOM_WEIGHTS, TUNINGS, defaults_of

_ROOT = Path(__file__).parents[1]
_DOCS = _ROOT / "docs"
_PAGES = sorted(path for path in _DOCS.rglob("*.md") if "```python" in path.read_text(encoding="utf-8"))

# Raised by the trainers of others on pages that use them.
pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*LeafSpec.*is deprecated",
        ".*does not have many workers",
        "The number of training batches",
        "Checkpoint directory .* exists and is not empty",
        "'pin_memory' argument is set as true",
    )
]


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(_DOCS)))
def test_every_python_block_runs_in_the_order_of_its_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    task_names()  # loads the built-in plugins, which are to stay
    before = plugin_manager.get_plugins()
    try:
        for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            exec(compile(block, str(page), "exec"), names)
    finally:
        for plugin in plugin_manager.get_plugins() - before:
            plugin_manager.unregister(plugin)


def test_no_page_with_code_is_passed_over() -> None:
    assert len(_PAGES) >= 8


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    if shutil.which("mkdocs", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("mkdocs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "api" / "index.html").read_text().count("advbg.") > 50


def test_the_first_page_shows_the_change_that_the_readme_shows() -> None:
    pages = [file.read_text(encoding="utf-8") for file in (_ROOT / "README.md", _DOCS / "index.md")]
    readme, index = (re.findall(r"```diff\n.*?```", page, flags=re.DOTALL) for page in pages)
    assert readme == index
    assert len(readme) == 1


def test_what_is_said_to_suit_each_tuning_is_what_it_has() -> None:
    page = (_DOCS / "train.md").read_text(encoding="utf-8")
    names = {"random weights": OF_RANDOM_WEIGHTS}
    names |= {f"`{tuning}`": defaults_of(tuning, pretrained=True) for tuning in TUNINGS}
    for name, defaults in names.items():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {name} |")]
        written = [float(number) for number in re.findall(r"\d[\d.e-]*", line)]
        shares = [100 * defaults.classifier_share, 100 * defaults.mask_share]
        others = [defaults.clean_share, defaults.clutter, defaults.distractors, defaults.candidates]
        assert written == pytest.approx([defaults.learning_rate, *shares, *others])


def test_the_figures_of_copies_are_those_that_were_published() -> None:
    page = (_DOCS / "train.md").read_text(encoding="utf-8")
    (paragraph,) = [part for part in page.split("\n\n") if part.startswith("A studio shows one apple")]
    sentence = " ".join(paragraph.split()).split("with copies too,")[1].split("With gentle")[0]
    shown = []
    for study, method in (
        ("fruits-plain-copies", "baseline"),
        ("fruits-plain", "proposal"),
        ("fruits-plain-copies", "proposal"),
        ("fruits-scratch-copies-bfloat16", "baseline"),
        ("fruits-scratch-bfloat16", "proposal"),
        ("fruits-scratch-copies-bfloat16", "proposal"),
        ("fruits-ordinary-copies", "baseline"),
        ("fruits-ordinary", "proposal"),
        ("fruits-ordinary-copies", "proposal"),
    ):
        file = _DOCS / "results" / "case-studies" / study / "results.json"
        seeds = json.loads(file.read_text(encoding="utf-8"))["seeds"].values()
        shown.append(f"{statistics.mean(seed[method]['accuracy']['shop'] for seed in seeds):.1f}")
    assert re.findall(r"\d+\.\d", sentence) == shown

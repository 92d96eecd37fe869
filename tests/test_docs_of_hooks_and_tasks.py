"""The pages on hooks and tasks do what they say."""

import re
from pathlib import Path
from typing import Any

import pytest

from advbg import plugin_manager

_DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["hooks.md", "tasks.md"])
def test_every_python_block_runs_in_the_order_of_the_page(page: str) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    text = (_DOCS / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    before = plugin_manager.get_plugins()
    try:
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
            exec(compile(block, page, "exec"), names)
    finally:
        for plugin in plugin_manager.get_plugins() - before:
            plugin_manager.unregister(plugin)

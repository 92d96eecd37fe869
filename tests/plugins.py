"""Plugins for the tests, registered for a while."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from advbg import AdversarialBackground, hookimpl, plugin_manager
from tests.models import tiny_classifier


@contextmanager
def plugged(plugin: Any, name: str | None = None) -> Iterator[None]:
    """Within the context, the plugin is registered."""
    plugin_manager.register(plugin, name)
    try:
        yield
    finally:
        plugin_manager.unregister(plugin)


def plugin_of(**functions: Any) -> SimpleNamespace:
    """A plugin with these hooks; each must take the hook's arguments by name."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


def attached(model: nn.Module | None = None, **options: Any) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    """A wrapper and the optimiser that it rides on."""
    wrapper = AdversarialBackground(model if model is not None else tiny_classifier(), **options)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    return wrapper, optimizer

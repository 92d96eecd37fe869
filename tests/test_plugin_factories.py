"""Which plugin is named where the parts that plugins add by name cannot be made."""

from typing import Any

import pytest

from advbg import AdversarialBackground
from advbg.hooks import PluginError
from tests.models import a_batch, adversarial_wrapper, tiny_classifier
from tests.plugins import plugged, plugin_of

_HOOKS = {"background": "advbg_background_sources", "mask_generator": "advbg_mask_generators"}


def _fail(*_: Any) -> None:
    raise KeyError("no such file")


def _refuse(*_: Any) -> None:
    raise ValueError("three channels, please")


class _Part:
    """Neither it nor its class takes what a factory does."""


@pytest.mark.parametrize("option", _HOOKS)
@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        (_fail, PluginError, "KeyError: 'no such file'"),
        (_refuse, ValueError, "three channels, please"),
        (_Part, TypeError, "takes no arguments"),
        (_Part(), TypeError, "'_Part' object is not callable"),
        (None, TypeError, "'NoneType' object is not callable"),
    ],
)
def test_a_factory_that_raises_or_is_none_names_its_plugin(
    option: str, factory: Any, error: type[Exception], message: str
) -> None:
    innocent, guilty = (plugin_of(**{_HOOKS[option]: lambda name=name: {name: factory}}) for name in ("one", "mine"))
    named = rf"^plugin 'guilty' in the factory of 'mine', which `{_HOOKS[option]}` added: .*{message}"
    with plugged(innocent, "innocent"), plugged(guilty, "guilty"), pytest.raises(error, match=named):
        adversarial_wrapper(**{option: "mine"}).generate_parameters(a_batch()[0])


@pytest.mark.parametrize("hook", _HOOKS.values())
@pytest.mark.parametrize("answer", [["mine"], "mine", {1: _Part}], ids=["list", "text", "numbers"])
def test_an_answer_without_a_factory_for_each_name_names_its_plugin(hook: str, answer: Any) -> None:
    innocent, guilty = plugin_of(**{hook: lambda: {"mine": _refuse}}), plugin_of(**{hook: lambda: answer})
    message = rf"^plugin 'guilty' in `{hook}`: must return a factory for each name, got"
    with plugged(innocent, "innocent"), plugged(guilty, "guilty"), pytest.raises(PluginError, match=message):
        AdversarialBackground(tiny_classifier())


@pytest.mark.parametrize("answer", ["pose", 7])
def test_an_answer_that_is_not_several_tasks_names_its_plugin(answer: Any) -> None:
    message = f"^plugin 'guilty' in `advbg_tasks`: must return a sequence of names, got {answer!r}"
    with plugged(plugin_of(advbg_tasks=lambda: answer), "guilty"), pytest.raises(PluginError, match=message):
        AdversarialBackground(tiny_classifier())

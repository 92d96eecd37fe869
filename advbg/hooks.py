"""The plugin manager: who answers the hooks of `advbg.hookspecs`, and what becomes of plugins that cannot."""

import inspect
import os
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from operator import itemgetter
from typing import Any

import pluggy

from advbg import hookspecs
from advbg.hookspecs import hookimpl, hookspec
from advbg.warning import warn

# Of the hooks' signatures; raised when a plugin written for one would not work with the next.
HOOK_VERSION = 1

# Names of the entry points that may load, separated by commas; empty for none, unset for all.
ALLOWED_PLUGINS = "ADVBG_PLUGINS"

_GROUP = "advbg"


class PluginError(RuntimeError):
    """A plugin cannot be used, or raised while it was; the message names it."""


class PluginManager(pluggy.PluginManager):
    """pluggy's, but plugins made for other hooks are refused, and those that raise are named.

    Attributes:
        failures: why a plugin of an entry point could not be loaded, by the entry point's name.
    """

    def __init__(self) -> None:
        super().__init__(_GROUP)
        self.failures: dict[str, str] = {}
        self._loaded = self._has_built_in = False
        self.add_hookspecs(hookspecs)
        self.add_hookcall_monitoring(lambda *_: None, _name_the_plugin)

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """Register a plugin.

        Args:
            plugin: a module or object with methods marked by `hookimpl`. Its attribute `advbg_hook_version`, where it
                has one, says which hooks it was made for.
            name: of the plugin; by default pluggy finds one.

        Returns:
            The name.

        Raises:
            PluginError: where it was made for another version of the hooks, or implements a hook that there is not, or
                with arguments that there are not.
            ValueError: where it is registered already, or its name is, as those of the built-in plugins are.
        """
        self._register_built_in()
        label = name or self.get_canonical_name(plugin)
        version = getattr(plugin, "advbg_hook_version", HOOK_VERSION)
        if version != HOOK_VERSION:
            raise PluginError(
                f"plugin {label!r} was made for version {version} of the hooks, but this advbg has version "
                f"{HOOK_VERSION}"
            )
        try:
            registered = super().register(plugin, name)
            self.check_pending()
        except pluggy.PluginValidationError as error:
            if self.is_registered(plugin):
                self.unregister(plugin)
            raise PluginError(f"plugin {label!r} does not fit the hooks of this advbg: {error}") from error
        return registered

    def load(self) -> None:
        """Register the built-in plugins and those of installed packages; once, at the first use of a plugin.

        A package that cannot be loaded is warned of by name and kept in `failures`: whatever else is installed in an
        environment should not stop a training that does not use it, and what does ask for one of its names fails.

        Raises:
            ValueError: where `ADVBG_PLUGINS` names a plugin that is not installed.
        """
        if self._loaded:
            return
        installed = {point.name: point for point in entry_points(group=_GROUP)}
        chosen = _allowed(tuple(installed))
        self._loaded = True
        self._register_built_in()
        for name in chosen:
            try:
                if not self.load_setuptools_entrypoints(_GROUP, name):
                    raise PluginError(f"a plugin {name!r} is registered already")
            except Exception as error:
                where = installed[name].dist
                self.failures[name] = f"{type(error).__name__}: {error}"
                warn(
                    f"the advbg plugin {name!r} ({where.name if where else installed[name].value}) could not be loaded "
                    f"and is left out: {self.failures[name]}"
                )

    def _register_built_in(self) -> None:
        """Before all others, which are asked first by that."""
        if self._has_built_in:
            return
        self._has_built_in = True
        # Only here, since the built-in plugins are written on the hooks of this module.
        from advbg.tasks import BUILT_IN_PLUGINS

        for name, plugin in BUILT_IN_PLUGINS.items():
            self.register(plugin, name)


def _allowed(installed: Sequence[str]) -> Sequence[str]:
    choice = os.environ.get(ALLOWED_PLUGINS)
    if choice is None:
        return installed
    names = [name.strip() for name in choice.split(",") if name.strip()]
    unknown = [name for name in names if name not in installed]
    if unknown:
        raise ValueError(
            f"`{ALLOWED_PLUGINS}` (={choice!r}) names {', '.join(unknown)}, but the installed plugins are: "
            f"{', '.join(installed) or 'none'}"
        )
    return names


def _name_the_plugin(
    outcome: pluggy.Result[Any], hook_name: str, hook_impls: Sequence[pluggy.HookImpl], kwargs: Mapping[str, object]
) -> None:
    """Put the name of the plugin that raised in front of its message; what refuses an argument keeps its type."""
    error = outcome.exception
    if not isinstance(error, Exception) or isinstance(error, PluginError):
        return
    who = _who(hook_impls, lambda impl: _was_running(impl.function, error))
    named = _named(error, f"{who} in `{hook_name}`")
    named.__cause__ = error
    outcome.force_exception(named)


def _who(hook_impls: Sequence[pluggy.HookImpl], is_it: Callable[[pluggy.HookImpl], bool]) -> str:
    names = [impl.plugin_name for impl in hook_impls if is_it(impl)]
    return f"plugin {names[0]!r}" if names else f"one of the plugins {[impl.plugin_name for impl in hook_impls]}"


def _named(error: Exception, where: str) -> Exception:
    kind = next((kind for kind in (ValueError, TypeError) if isinstance(error, kind)), PluginError)
    what = f"{type(error).__name__}: {error}" if kind is PluginError else str(error)
    return kind(f"{where}: {what}")


def _was_running(function: Callable[..., Any], error: Exception) -> bool:
    """Whether an error passed through a function, or through this very object's method."""
    owner = getattr(function, "__self__", None)
    code = getattr(inspect.unwrap(function), "__code__", None)  # decorators share theirs
    return code is not None and any(
        frame.f_code is code and (owner is None or frame.f_locals.get(code.co_varnames[0]) is owner)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _who_answers(hook: pluggy.HookCaller, fits: Callable[[Any], bool]) -> str:
    """Say whose answer fits; each is asked once more, since pluggy gathers answers without names."""

    def is_it(impl: pluggy.HookImpl) -> bool:
        answer = None if impl.wrapper or impl.hookwrapper else impl.function()
        return answer is not None and fits(answer)

    return _who(hook.get_hookimpls(), is_it)


# Never an attribute of a module: `copy.deepcopy` would clone it.
plugin_manager = PluginManager()


def task_names() -> list[str]:
    """The tasks that plugins know, in alphabetical order.

    Raises:
        PluginError: where a plugin names them by a text, or something else that is not several.
    """
    plugin_manager.load()
    hook = plugin_manager.hook.advbg_tasks
    answers = hook()
    for answer in answers:
        if not _are_several(answer):
            who = _who_answers(hook, lambda other: not _are_several(other))
            raise PluginError(f"{who} in `advbg_tasks`: must return a sequence of names, got {answer!r}")
    return sorted({name for names in answers for name in names})


def _are_several(answer: Any) -> bool:
    return isinstance(answer, Iterable) and not isinstance(answer, str)


def left_out() -> str:
    """What an error about an unknown name adds where plugins could not be loaded: one of them may have known it."""
    failures = plugin_manager.failures
    return f" (plugins that could not be loaded: {', '.join(sorted(failures))})" if failures else ""


def factories(hook_name: str, taken: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Gather the parts that plugins add by name.

    Args:
        hook_name: `advbg_background_sources` or `advbg_mask_generators`.
        taken: names that are the library's own.

    Returns:
        A factory for each name, in alphabetical order, whose errors name the plugin. Names that are the library's own,
        or added by two plugins, are warned of and left out: they should not stop a training that asks for none of them.

    Raises:
        PluginError: where a plugin adds something else than factories by name.
    """
    plugin_manager.load()
    hook = getattr(plugin_manager.hook, hook_name)
    answers = hook()
    for answer in answers:
        if not _are_named(answer):
            who = _who_answers(hook, lambda other: not _are_named(other))
            raise PluginError(f"{who} in `{hook_name}`: must return a factory for each name, got {answer!r}")
    added = [(name, factory) for names in answers for name, factory in names.items()]
    often = Counter([*taken, *(name for name, _ in added)])
    for name in sorted(often):
        if often[name] > 1:
            plugins = ", ".join(impl.plugin_name for impl in hook.get_hookimpls())
            whose = "which is advbg's own" if name in taken else "more than once"
            warn(f"`{hook_name}` adds {name!r}, {whose}: it is left out; the plugins are: {plugins}")
    return {
        name: partial(_make, hook, name, factory)
        for name, factory in sorted(added, key=itemgetter(0))
        if often[name] == 1
    }


def _are_named(answer: Any) -> bool:
    return isinstance(answer, Mapping) and all(isinstance(name, str) for name in answer)


def _make(hook: pluggy.HookCaller, name: str, factory: Any, *arguments: Any) -> Any:
    """Call a plugin's factory; what it raises names the plugin."""
    try:
        return factory(*arguments)
    except PluginError:
        raise
    except Exception as error:
        who = _who_answers(hook, lambda answer: name in answer)
        raise _named(error, f"{who} in the factory of {name!r}, which `{hook.name}` added") from error


__all__ = [
    "ALLOWED_PLUGINS",
    "HOOK_VERSION",
    "PluginError",
    "PluginManager",
    "factories",
    "hookimpl",
    "hookspec",
    "left_out",
    "plugin_manager",
    "task_names",
]

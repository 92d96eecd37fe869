"""`advbg plugins`, and the commands that plugins add."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.main import get_command_name

from advbg.hooks import PluginError, plugin_manager


@cache
def add_plugin_commands(app: typer.Typer) -> None:
    """Let plugins add their commands, once.

    Args:
        app: of `advbg`, whose own commands are there already.

    Raises:
        PluginError: where a plugin raises or its command has the name of another.
        ValueError: where `ADVBG_PLUGINS` names a plugin that is not installed.
    """
    plugin_manager.load()
    plugin_manager.hook.advbg_commands(app=app)
    # Typer makes names of functions: `case_study` becomes `case-study`.
    names = [
        command.name or get_command_name(getattr(command.callback, "__name__", ""))
        for command in app.registered_commands
    ]
    # A group of commands would take the place of a command without a word.
    for group in app.registered_groups:
        own = group.typer_instance.info.name if group.typer_instance is not None else None
        names += [name for name in (group.name or own,) if isinstance(name, str)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        who = ", ".join(impl.plugin_name for impl in plugin_manager.hook.advbg_commands.get_hookimpls())
        raise PluginError(f"`advbg_commands` adds {', '.join(twice)}, which is taken already; its plugins are: {who}")


def plugins() -> None:
    """List the plugins that are loaded, where they come from and which hooks they implement."""
    plugin_manager.load()
    table = Table("name", "version", "from", "hooks", title="Plugins of advbg")
    distributions = {id(plugin): facade for plugin, facade in plugin_manager.list_plugin_distinfo()}
    for name, plugin in sorted(plugin_manager.list_name_plugin()):
        if plugin is None:
            continue
        facade = distributions.get(id(plugin))
        distribution = facade.project_name if facade else _module(plugin).partition(".")[0]
        hooks = sorted(caller.name for caller in plugin_manager.get_hookcallers(plugin) or ())
        place = distribution if facade else _module(plugin)
        table.add_row(*map(escape, (name, _version(distribution), place, "\n".join(hooks))))
    for name, reason in sorted(plugin_manager.failures.items()):
        table.add_row(escape(name), "", "not loaded", escape(reason), style="red")
    Console().print(table)


def _module(plugin: Any) -> str:
    return getattr(plugin, "__name__", None) or type(plugin).__module__


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""

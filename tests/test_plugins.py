"""Where plugins come from, what they add to the command, and what becomes of those that cannot be used."""

import copy
import functools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import typer
from typer.testing import CliRunner

from advbg import hookimpl, plugin_manager
from advbg.hooks import PluginError, PluginManager
from advbg.plugin_commands import add_plugin_commands, plugins
from tests.models import a_batch, adversarial_wrapper
from tests.plugins import plugged, plugin_of


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command("plugins")(lambda: None)
    return app


def test_hook_commands_adds_commands() -> None:
    def commands(app: typer.Typer) -> None:
        @app.command()
        def greet() -> None:
            print("hello")

    app = _app()
    with plugged(plugin_of(advbg_commands=commands)):
        add_plugin_commands(app)
        add_plugin_commands(app)
    assert CliRunner().invoke(app, ["greet"]).output == "hello\n"


@pytest.mark.parametrize(
    "add",
    [
        lambda app: app.command("plugins")(print),
        lambda app: app.add_typer(typer.Typer(), name="plugins"),
        lambda app: app.add_typer(typer.Typer(name="plugins")),
    ],
)
def test_a_command_whose_name_is_taken_is_refused(add: Any) -> None:
    with (
        plugged(plugin_of(advbg_commands=lambda app: add(app)), "greedy"),
        pytest.raises(PluginError, match=r"`advbg_commands` adds plugins, .* greedy"),
    ):
        add_plugin_commands(_app())


def test_what_plugins_say_is_listed_as_they_say_it(capsys: pytest.CaptureFixture[str]) -> None:
    with plugged(plugin_of(advbg_step=lambda: None), "mine [beta]"):
        plugin_manager.failures["broken"] = "no module in [/opt/x]: pip install it[extra]"
        try:
            plugins()
        finally:
            del plugin_manager.failures["broken"]
    said = " ".join(capsys.readouterr().out.split())
    for text in ("[beta]", "[/opt/x]", "[extra]"):
        assert text in said


def test_a_plugin_that_raises_is_named() -> None:
    def fail(targets: Any) -> None:
        raise {"key": KeyError, "type": TypeError, "value": ValueError}[targets]("no such thing")

    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, _ = a_batch()
    with (
        plugged(plugin_of(advbg_foreground=lambda: None), "innocent"),
        plugged(plugin_of(advbg_foreground=fail), "guilty"),
    ):
        with pytest.raises(PluginError, match=r"plugin 'guilty' in `advbg_foreground`: KeyError: 'no such thing'"):
            wrapper(images, targets="key")
        with pytest.raises(TypeError, match=r"plugin 'guilty' in `advbg_foreground`: no such thing"):
            wrapper(images, targets="type")
        with pytest.raises(ValueError, match=r"plugin 'guilty' in `advbg_foreground`: no such thing") as caught:
            wrapper(images, targets="value")
    assert str(caught.value.__cause__) == "no such thing"


def test_of_two_plugins_of_one_class_the_one_that_raises_is_named() -> None:
    class Picky:
        def __init__(self, refused: int) -> None:
            self.refused = refused

        @hookimpl
        def advbg_foreground(self, targets: int) -> None:
            if targets == self.refused:
                raise KeyError(targets)

    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    with plugged(Picky(1), "first"), plugged(Picky(2), "second"):
        for target, name in enumerate(("first", "second"), start=1):
            with pytest.raises(PluginError, match=f"plugin '{name}' in `advbg_foreground`: KeyError: {target}"):
                wrapper(a_batch()[0], targets=target)


def test_where_nobody_can_tell_which_plugin_raised_all_are_named() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True

    def refuse(function: Any) -> Any:
        @functools.wraps(function)
        def refusing(images: Any, targets: Any) -> None:
            raise KeyError(targets)

        return refusing

    plugin = plugin_of(advbg_foreground=refuse(lambda images, targets: None))
    with plugged(plugin, "mine"), pytest.raises(PluginError, match=r"one of the plugins \[.*'mine'\] .*KeyError"):
        wrapper(a_batch()[0], targets=1)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (
            SimpleNamespace(advbg_hook_version=2),
            "'old' was made for version 2 of the hooks, but this advbg has version 1",
        ),
        (
            plugin_of(advbg_forground=lambda: None),
            "'old' does not fit the hooks of this advbg: unknown hook 'advbg_forground'",
        ),
        (plugin_of(advbg_step=lambda loss: None), "(?s)'old' does not fit the hooks .*Argument.*'loss'"),
    ],
)
def test_a_plugin_for_other_hooks_is_refused_with_the_reason_and_leaves_nothing(plugin: Any, message: str) -> None:
    manager = PluginManager()
    with pytest.raises(PluginError, match=message):
        manager.register(plugin, "old")
    assert not manager.has_plugin("old")
    assert manager.hook.advbg_step.get_hookimpls() == []
    manager.check_pending()


def test_a_plugin_for_other_hooks_that_is_given_no_name_is_named_as_pluggy_does() -> None:
    with pytest.raises(PluginError, match="plugin 'their_module' was made for version 0 of the hooks"):
        PluginManager().register(SimpleNamespace(__name__="their_module", advbg_hook_version=0))


def test_where_a_plugin_asks_others_the_one_that_raises_is_named_alone() -> None:
    def ask(task: str, images: Any, targets: Any) -> Any:
        return plugin_manager.hook.advbg_targets(
            task=task, targets=targets, foreground=images[:, :1], composited=torch.ones(8, dtype=torch.bool)
        )

    def fail(targets: Any) -> None:
        raise KeyError(targets)

    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    with (
        plugged(plugin_of(advbg_foreground=ask), "asking"),
        plugged(plugin_of(advbg_targets=fail), "guilty"),
        pytest.raises(PluginError, match=r"^plugin 'guilty' in `advbg_targets`: KeyError: 'x'$"),
    ):
        wrapper(a_batch()[0], targets="x")


def test_a_plugin_that_comes_before_anything_else_is_asked_before_the_built_in_ones() -> None:
    corner = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    corner[..., :4, :4] = True
    manager = PluginManager()
    manager.register(plugin_of(advbg_foreground=lambda task: corner), "mine")
    labels = torch.ones(2, 8, 8, dtype=torch.int64)
    found = manager.hook.advbg_foreground(task="segmentation", images=torch.rand(2, 3, 8, 8), targets=labels)
    assert torch.equal(found, corner)


def test_a_plugin_cannot_take_the_name_of_a_built_in_one() -> None:
    with pytest.raises(ValueError, match="'detection'"):
        PluginManager().register(plugin_of(advbg_tasks=lambda: ("mine",)), "detection")


def test_a_copy_of_a_wrapper_tells_the_same_plugins() -> None:
    told = []
    wrapper = adversarial_wrapper()
    wrapper.generate_parameters(a_batch()[0])
    twin = copy.deepcopy(wrapper)
    with plugged(plugin_of(advbg_step=lambda companions: told.append(companions))):
        wrapper.companions.step()
        twin.companions.step()
    assert told[0] is wrapper.companions
    assert told[1] is twin.companions


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two installed packages: one that works, one whose import fails."""
    for name, code in (("working", "advbg_hook_version = 1\n"), ("broken", "import nowhere_to_be_found\n")):
        (tmp_path / f"{name}_plugin.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{name}_dist-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.5\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[advbg]\n{name} = {name}_plugin\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.usefixtures("site")
def test_a_package_that_cannot_be_loaded_is_warned_of_by_name_and_the_others_load() -> None:
    manager = PluginManager()
    with pytest.warns(UserWarning, match=r"'broken' \(broken-dist\) could not be loaded .*nowhere_to_be_found"):
        manager.load()
    assert manager.has_plugin("working")
    assert manager.has_plugin("segmentation")
    assert list(manager.failures) == ["broken"]
    manager.load()


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize(("choice", "loaded"), [("", False), ("working", True), (" working , ", True)])
def test_the_environment_decides_which_packages_load(
    choice: str, loaded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVBG_PLUGINS", choice)
    manager = PluginManager()
    manager.load()
    assert manager.has_plugin("working") is loaded
    assert manager.has_plugin("classification")
    assert manager.failures == {}


@pytest.mark.usefixtures("site")
def test_a_package_whose_name_is_taken_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBG_PLUGINS", "working")
    manager = PluginManager()
    manager.register(SimpleNamespace(), "working")
    with pytest.warns(UserWarning, match=r"'working' \(working-dist\) .* a plugin 'working' is registered already"):
        manager.load()


@pytest.mark.usefixtures("site")
def test_a_name_in_the_environment_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADVBG_PLUGINS", "working,perlinn")
    with pytest.raises(ValueError, match=r"`ADVBG_PLUGINS` \(='working,perlinn'\) names perlinn, but .* working"):
        PluginManager().load()


@pytest.mark.usefixtures("site")
def test_the_command_lists_plugins_with_version_origin_and_hooks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from advbg import plugin_commands

    manager = PluginManager()
    with pytest.warns(UserWarning, match="broken"):
        manager.load()
    monkeypatch.setattr(plugin_commands, "plugin_manager", manager)
    monkeypatch.setenv("COLUMNS", "160")
    plugin_commands.plugins()
    printed = capsys.readouterr().out
    assert re.search(r"working .* 1\.5 .* working-dist", printed)
    assert re.search(r"broken .* not loaded .* ModuleNotFoundError: No module named 'nowhere_to_be_found'", printed)
    assert re.search(r"regression .* advbg\.tasks\.regression .* advbg_distance", printed)


def test_a_function_whose_name_becomes_one_that_is_taken_is_refused() -> None:
    app = _app()
    app.command("case-study")(lambda: None)

    def commands(app: typer.Typer) -> None:
        @app.command()
        def case_study() -> None:
            print("mine")

    with (
        plugged(plugin_of(advbg_commands=commands), "greedy"),
        pytest.raises(PluginError, match=r"`advbg_commands` adds case-study, which is taken"),
    ):
        add_plugin_commands(app)

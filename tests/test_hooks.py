"""The hooks: who answers them, who is told what, and what becomes of plugins that cannot."""

import ast
import copy
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import typer
from torch import Tensor, nn
from typer.testing import CliRunner

from advbg import AdversarialBackground, Schedule, hookimpl, hookspecs, plugin_manager
from advbg.backgrounds import Noise
from advbg.hooks import PluginError, PluginManager
from advbg.plugin_commands import add_plugin_commands
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train

_ROOT = Path(__file__).parents[1]
_SPECS = {
    node.name: node
    for node in ast.parse(inspect.getsource(hookspecs)).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("advbg_")
}


@contextmanager
def plugged(plugin: Any, name: str | None = None) -> Iterator[None]:
    plugin_manager.register(plugin, name)
    try:
        yield
    finally:
        plugin_manager.unregister(plugin)


def plugin_of(**functions: Any) -> SimpleNamespace:
    """A plugin with these hooks; each must take the hook's arguments by name."""
    return SimpleNamespace(**{name: hookimpl(function) for name, function in functions.items()})


def attached(**options: Any) -> tuple[AdversarialBackground, torch.optim.Optimizer]:
    wrapper = AdversarialBackground(tiny_classifier(), **options)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    return wrapper, optimizer


# --- What holds for every hook, present and future ---------------------------------------------------------------


def test_the_hooks_are_there() -> None:
    assert len(_SPECS) == 10
    assert {name for name in vars(plugin_manager.hook) if not name.startswith("_")} == set(_SPECS)


@pytest.mark.parametrize("name", _SPECS)
def test_every_hook_is_documented_with_its_exact_signature(name: str) -> None:
    page = (_ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    section = re.search(rf"^### `{name}`\n\n```text\n(.*?)```", page, flags=re.DOTALL | re.MULTILINE)
    assert section, f"docs/hooks.md has no section `{name}` that begins with a signature"
    returns = _SPECS[name].returns
    signature = f"def {name}({ast.unparse(_SPECS[name].args)}) -> {ast.unparse(returns) if returns else None}: ..."
    documented = f"def {section[1].strip()}: ..."
    assert ast.dump(ast.parse(documented)) == ast.dump(ast.parse(signature))


@pytest.mark.parametrize("name", _SPECS)
def test_every_hook_has_a_test(name: str) -> None:
    tests = [
        node.name
        for node in ast.parse(Path(__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    assert any(test.startswith(f"test_hook_{name.removeprefix('advbg_')}") for test in tests)


@pytest.mark.parametrize("name", _SPECS)
def test_every_hook_says_in_a_sentence_what_it_is_for_and_explains_each_argument(name: str) -> None:
    docstring = ast.get_docstring(_SPECS[name]) or ""
    assert docstring.splitlines()[0].endswith(".")
    for argument in _SPECS[name].args.args:
        assert re.search(rf"^    {argument.arg}: ", docstring, flags=re.MULTILINE), argument.arg


# --- Tasks -------------------------------------------------------------------------------------------------------


def test_hook_tasks_names_what_the_wrapper_takes() -> None:
    with pytest.raises(
        ValueError, match=r"`task` \(='counting'\) must be one of classification, detection, regression"
    ):
        AdversarialBackground(tiny_classifier(), task="counting")
    with plugged(plugin_of(advbg_tasks=lambda: ["counting"])):
        assert AdversarialBackground(tiny_classifier(), task="counting").companions.options.task == "counting"


def test_hook_foreground_takes_the_place_of_learned_masks_but_not_of_given_ones() -> None:
    half = torch.zeros(8, 32, 32, dtype=torch.bool)
    half[:, :16] = True
    asked = []

    def foreground(task: str, targets: Any) -> Tensor | None:
        asked.append(task)
        return half if targets == "halves" else None

    images, _ = a_batch()
    with plugged(plugin_of(advbg_foreground=foreground)):
        wrapper = AdversarialBackground(nn.Identity(), schedule=Schedule(0, 9), clean_share=0.0, halo=0.0)
        wrapper.companions.attached = True
        assert wrapper.phase == "mask"
        seen = wrapper(images, targets="halves")
        assert wrapper.phase == "adversarial"
        assert torch.equal(seen[:, :, :16], images[:, :, :16])
        assert not torch.equal(seen[:, :, 16:], images[:, :, 16:])
        given = wrapper(images, targets="halves", mask=~half)
        assert torch.equal(given[:, :, 16:], images[:, :, 16:])
    assert asked == ["classification", "classification"]


def test_a_foreground_that_is_no_mask_of_these_images_is_refused_with_the_task() -> None:
    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    small = torch.ones(8, 4, 4, dtype=torch.bool)
    with (
        plugged(plugin_of(advbg_foreground=lambda: small)),
        pytest.raises(ValueError, match=r"task 'classification' found in `targets` is none: .*\(8, 1, 4, 4\)"),
    ):
        wrapper(a_batch()[0], targets=1)


def test_hook_targets_changes_what_the_wrapper_holds_and_only_where_images_were_changed() -> None:
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero", clean_share=0.5)
    images, targets = a_batch()
    images[3] = 0.0  # without an object there is nothing to keep, so the image stays as it is

    def change(targets: Tensor, foreground: Tensor, composited: Tensor) -> Tensor:
        assert foreground.shape == (8, 1, 32, 32)
        return torch.where(composited, -1, targets)

    with plugged(plugin_of(advbg_targets=change)):
        params = wrapper.generate_parameters(images)
        seen: list[Tensor] = []
        wrapper.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        wrapper(images, targets=targets, params=params)
        changed = (seen[0] != images).flatten(1).any(dim=1)
        assert 0 < changed.sum() < 8
        assert torch.equal(wrapper.targets, torch.where(changed, -1, targets))
        wrapper.eval()(images, targets=targets)
        assert wrapper.targets is targets
    wrapper.train()(images, targets=targets)
    assert wrapper.targets is targets
    wrapper(images)
    assert wrapper.targets is None


def test_a_wrapper_that_holds_targets_with_a_graph_can_be_copied() -> None:
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    images, _ = a_batch()
    wrapper(images, targets=2 * torch.rand(8, requires_grad=True))
    assert copy.deepcopy(wrapper).targets is None
    assert wrapper.targets is not None


def test_hook_distance_rates_masks_by_the_raw_outputs() -> None:
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = tiny_classifier()

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(images), "other": images.mean(dim=(1, 2, 3))}

    def distance(task: str, outputs: Any, expected: Any, batch_size: int) -> Tensor | None:
        assert batch_size == 8
        return 100 * (outputs["logits"] - expected["logits"]).square().mean() if task == "heads" else None

    images, _ = a_batch()
    losses = {}
    with plugged(plugin_of(advbg_tasks=lambda: ("heads",), advbg_distance=distance)):
        for task in ("heads", "classification"):
            wrapper = AdversarialBackground(TwoHeads(), task=task, schedule=Schedule(0, 1))
            wrapper.companions.attached = True
            wrapper(images)
            losses[task] = wrapper.companions.mask_loss
    wrapper = AdversarialBackground(TwoHeads(), schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    wrapper(images)
    assert torch.equal(losses["classification"], wrapper.companions.mask_loss)
    assert not torch.equal(losses["heads"], losses["classification"])


# --- Parts by name -----------------------------------------------------------------------------------------------


class _Grey(Noise):
    def __init__(self, shape: tuple[int, int, int], level: float) -> None:
        self.shape, self.level = shape, level

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.full((count, *shape), self.level)


def test_hook_background_sources_adds_sources_by_name() -> None:
    def sources() -> dict[str, Any]:
        return {"grey": lambda shape, generator: _Grey(shape, torch.rand((), generator=generator).item())}

    images, _ = a_batch()
    with plugged(plugin_of(advbg_background_sources=sources)):
        wrappers = [adversarial_wrapper(background="grey", seed=seed) for seed in (0, 0, 1)]
        levels = [wrapper.generate_parameters(images).backgrounds.mean().item() for wrapper in wrappers]
        assert levels[0] == levels[1] != levels[2]
        assert wrappers[0].companions.source.shape == (3, 32, 32)
        assert wrappers[0].companions.options.names()["background"] == "grey"
        with pytest.raises(
            ValueError, match="must be one of adversarial, random, paper, noise, black, grey, or a source"
        ):
            adversarial_wrapper(background="gray")
    with pytest.raises(ValueError, match=r"`background` \(='grey'\)"):
        adversarial_wrapper(background="grey")


def test_hook_mask_generators_adds_mask_generators_by_name() -> None:
    def bright(pixels: Tensor) -> Tensor:
        return (pixels.mean(dim=1, keepdim=True) > 0.5).float()

    def generators() -> dict[str, Any]:
        return {
            "bright": lambda shape: bright,
            "point": lambda shape: nn.Sequential(nn.Conv2d(shape[0], 1, 1), nn.Sigmoid()),
        }

    images, _ = a_batch()
    with plugged(plugin_of(advbg_mask_generators=generators)):
        fixed, optimizer = attached(mask_generator="bright", schedule=Schedule(0, 1))
        fixed(images)
        assert fixed.phase == "adversarial"
        learned, optimizer = attached(mask_generator="point", schedule=Schedule(0, 1))
        before = learned.companions.build(images) or copy.deepcopy(learned.companions.mask_generator)
        assert train(learned, optimizer, 2)
        assert learned.phase == "adversarial"
        assert not torch.equal(before[0].weight, learned.companions.mask_generator[0].weight)
        with pytest.raises(ValueError, match="must be one of unet, paper, nonzero, bright, point, or a module"):
            AdversarialBackground(tiny_classifier(), mask_generator="dark")


@pytest.mark.parametrize(("hook", "name"), [("advbg_background_sources", "noise"), ("advbg_mask_generators", "unet")])
def test_a_name_that_is_taken_is_refused(hook: str, name: str) -> None:
    plugin = plugin_of(**{hook: lambda: {name: None}})
    with plugged(plugin, "greedy"), pytest.raises(PluginError, match=f"`{hook}` adds '{name}', .* greedy"):
        AdversarialBackground(tiny_classifier())


def test_a_factory_that_makes_no_source_or_mask_generator_is_named() -> None:
    plugin = plugin_of(
        advbg_background_sources=lambda: {"none": lambda shape, generator: 3},
        advbg_mask_generators=lambda: {"none": lambda shape: 3},
    )
    with plugged(plugin):
        for option in ("background", "mask_generator"):
            with pytest.raises(TypeError, match="the plugin that adds 'none' made 3"):
                adversarial_wrapper(**{option: "none"}).generate_parameters(a_batch()[0])


# --- Looking on --------------------------------------------------------------------------------------------------


def test_hook_phase_changed_tells_the_first_phase_and_each_change() -> None:
    told = []
    plugin = plugin_of(advbg_phase_changed=lambda phase, step: told.append((phase, step)))
    with plugged(plugin):
        wrapper, optimizer = attached(schedule=Schedule(2, 1))
        train(wrapper, optimizer, 5)
        assert told == [("classifier", 0), ("mask", 2), ("adversarial", 3)]
        told.clear()
        wrapper, _ = attached(schedule=Schedule(0, 9))
        wrapper(a_batch()[0])
        wrapper(a_batch()[0], mask=torch.ones(8, 32, 32, dtype=torch.bool))
        assert told == [("mask", 0), ("adversarial", 0)]


def test_hook_step_tells_the_scalars_of_each_phase() -> None:
    told = []

    def look(companions: Any, phase: str, step: int, scalars: Any) -> None:
        assert all(value.shape == () and not value.requires_grad for value in scalars.values())
        told.append((phase, step, {name: value.item() for name, value in scalars.items()}))

    with plugged(plugin_of(advbg_step=look)):
        wrapper, optimizer = attached(schedule=Schedule(1, 1), clean_share=0.0)
        for step in range(3):
            images, targets = a_batch(seed=step)
            loss = nn.functional.cross_entropy(wrapper(images), targets)
            wrapper.companions.report(loss=loss)
            loss.backward()
            optimizer.step()
            assert told[-1][2].pop("loss") == loss.item()
    assert [entry[:2] for entry in told] == [("classifier", 1), ("mask", 2), ("adversarial", 3)]
    assert told[0][2] == {}
    assert told[1][2] == {"mask_loss": wrapper.companions.mask_loss.item()}
    assert set(told[2][2]) == {"mask_area", "background_mean", "background_spread", "harm"}
    assert all(0 < value <= 1 for name, value in told[2][2].items() if name != "harm")
    assert told[2][2]["harm"] > 0


def test_harm_is_how_much_the_loss_rises_when_backgrounds_go_uphill() -> None:
    told: dict[str, Tensor] = {}
    model = tiny_classifier().double()
    wrapper = adversarial_wrapper(model, clean_share=0.25, halo=0.0)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.0)
    wrapper.attach(optimizer)
    images, targets = a_batch()
    seen: list[Tensor] = []

    def keep(module: nn.Module, args: tuple[Tensor]) -> None:
        seen.append(args[0])
        args[0].retain_grad()

    handle = model.register_forward_pre_hook(keep)
    with plugged(plugin_of(advbg_step=lambda scalars: told.update(scalars))):
        nn.functional.cross_entropy(wrapper(images.double()), targets).backward()
        optimizer.step()
    handle.remove()
    # Only the background's pixels of composited images can move.
    free = (images == 0).all(dim=1, keepdim=True) & (seen[0] != images).flatten(1).any(dim=1)[:, None, None, None]
    gradient = torch.where(free, seen[0].grad, 0.0)
    length = gradient.flatten(1).norm(dim=1)
    assert told["harm"].item() == pytest.approx(length.sum().item(), rel=1e-4)
    uphill = 1e-3 * gradient / length.clamp_min(1e-30)[:, None, None, None]
    before, after = (nn.functional.cross_entropy(model(seen[0].detach() + move), targets) for move in (0, uphill))
    assert ((after - before) / 1e-3).item() == pytest.approx(told["harm"].item(), rel=0.05)


def test_hook_composite_shows_what_the_model_sees() -> None:
    told: list[tuple[Tensor, Tensor, Tensor]] = []
    seen: list[Tensor] = []
    plugin = plugin_of(advbg_composite=lambda images, mask, composites: told.append((images, mask, composites)))
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero", halo=0.0)
    wrapper.model.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    images, _ = a_batch()
    with plugged(plugin):
        wrapper(images)
        params = wrapper.generate_parameters(images)
        wrapper.eval()(images, params=params)
    ((shown, mask, composites),) = told
    assert torch.equal(shown, images)
    assert torch.equal(mask, (images > 0).any(dim=1, keepdim=True).float())
    assert torch.equal(composites, seen[0])
    assert not composites.requires_grad


def test_where_nobody_listens_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("computed for nobody")

    monkeypatch.setattr("torch.std_mean", never)
    wrapper, optimizer = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    wrapper.companions.report(loss=1.0)
    loss = wrapper(a_batch()[0]).sum()
    assert wrapper.companions.observation.scalars == {}
    loss.backward()
    assert wrapper.companions.observation.scalars == {}


def test_looking_on_changes_nothing() -> None:
    def losses() -> list[float]:
        return train(*attached(schedule=Schedule(1, 1), seed=3), 5)

    alone = losses()
    looker = plugin_of(
        advbg_step=lambda scalars: None, advbg_composite=lambda images: None, advbg_phase_changed=lambda phase: None
    )
    with plugged(looker):
        assert losses() == alone


# --- The command line --------------------------------------------------------------------------------------------


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


def test_a_command_whose_name_is_taken_is_refused() -> None:
    with (
        plugged(plugin_of(advbg_commands=lambda app: app.command("plugins")(print)), "greedy"),
        pytest.raises(PluginError, match="`advbg_commands` adds plugins, .* greedy"),
    ):
        add_plugin_commands(_app())


# --- Plugins that cannot -----------------------------------------------------------------------------------------


def test_a_plugin_that_raises_is_named() -> None:
    def fail(targets: Any) -> None:
        raise {"type": TypeError, "value": ValueError}[targets]("no such thing")

    wrapper = adversarial_wrapper()
    wrapper.companions.attached = True
    images, _ = a_batch()
    with (
        plugged(plugin_of(advbg_foreground=lambda: None), "innocent"),
        plugged(plugin_of(advbg_foreground=fail), "guilty"),
    ):
        with pytest.raises(PluginError, match=r"plugin 'guilty' in `advbg_foreground`: TypeError: no such thing"):
            wrapper(images, targets="type")
        with pytest.raises(ValueError, match=r"plugin 'guilty' in `advbg_foreground`: no such thing") as caught:
            wrapper(images, targets="value")
    assert str(caught.value.__cause__) == "no such thing"


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
    assert manager.list_name_plugin() == []
    assert manager.hook.advbg_step.get_hookimpls() == []
    manager.check_pending()


def test_a_copy_of_a_wrapper_has_the_same_plugins() -> None:
    wrapper = adversarial_wrapper()
    wrapper(a_batch()[0].requires_grad_(False)) if False else wrapper.generate_parameters(a_batch()[0])
    copy.deepcopy(wrapper)
    reachable = [value for module in wrapper.companions.modules() for value in vars(module).values()]
    assert not any(isinstance(value, PluginManager) for value in reachable)


# --- Entry points ------------------------------------------------------------------------------------------------


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

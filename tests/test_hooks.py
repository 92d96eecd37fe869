"""The hooks that change what is done, and what holds for every hook."""

import ast
import copy
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule, hookspecs, plugin_manager
from advbg.backgrounds import Noise
from advbg.companions import Companions
from advbg.hooks import PluginError
from advbg.masks import UNet
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train
from tests.plugins import attached, plugged, plugin_of

_ROOT = Path(__file__).parents[1]
_SPECS = {
    node.name: node
    for node in ast.parse(inspect.getsource(hookspecs)).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("advbg_")
}


def test_the_hooks_are_there() -> None:
    assert len(_SPECS) == 11
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
    test = re.compile(rf"^def test_hook_{name.removeprefix('advbg_')}_\w+\(", flags=re.MULTILINE)
    assert any(test.search(file.read_text(encoding="utf-8")) for file in (_ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", _SPECS)
def test_every_hook_says_in_a_sentence_what_it_is_for_and_explains_each_argument(name: str) -> None:
    docstring = ast.get_docstring(_SPECS[name]) or ""
    assert docstring.splitlines()[0].endswith(".")
    for argument in _SPECS[name].args.args:
        assert re.search(rf"^    {argument.arg}: ", docstring, flags=re.MULTILINE), argument.arg


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
        wrapper.train()(images)  # of which the plugin could say nothing
        assert wrapper.targets is None
    wrapper.train()(images, targets=targets)
    assert wrapper.targets is targets
    wrapper(images)
    assert wrapper.targets is None


def test_a_wrapper_that_holds_targets_with_a_graph_can_be_copied() -> None:
    wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
    wrapper(a_batch()[0], targets=2 * torch.rand(8, requires_grad=True))
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
            ValueError, match="must be one of adversarial, random, scenes, paper, noise, black, grey, or a source"
        ):
            adversarial_wrapper(background="gray")
    with pytest.raises(ValueError, match=r"`background` \(='grey'\)"):
        adversarial_wrapper(background="grey")


def test_hook_mask_generators_adds_mask_generators_by_name() -> None:
    def bright(pixels: Tensor) -> Tensor:
        return (pixels.mean(dim=1, keepdim=True) > 0.5).float()

    def generators() -> dict[str, Any]:
        return {
            "point": lambda shape: nn.Sequential(nn.Conv2d(shape[0], 1, 1), nn.Sigmoid()),
            "bright": lambda shape: bright,
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
        with pytest.raises(ValueError, match="must be one of unet, studio, paper, nonzero, bright, point, or a module"):
            AdversarialBackground(tiny_classifier(), mask_generator="dark")


@pytest.mark.parametrize(("hook", "name"), [("advbg_background_sources", "noise"), ("advbg_mask_generators", "unet")])
def test_a_name_of_ours_stays_ours_and_its_plugin_is_warned_of(hook: str, name: str) -> None:
    plugin = plugin_of(**{hook: lambda: {name: None}})

    def built() -> Companions:
        companions = AdversarialBackground(tiny_classifier(), background="noise", mask_generator="unet").companions
        companions.build(a_batch()[0])
        return companions

    with plugged(plugin, "greedy"), pytest.warns(UserWarning, match=f"`{hook}` adds '{name}', which is .* greedy"):
        companions = built()
    assert isinstance(companions.source, Noise)
    assert isinstance(companions.mask_generator, UNet)


def test_a_name_that_two_plugins_add_is_left_out_and_stops_nobody_else() -> None:
    plugins = [plugin_of(advbg_background_sources=lambda: {"stripes": lambda shape, generator: Noise()}) for _ in "12"]
    with plugged(plugins[0], "first"), plugged(plugins[1], "second"):
        with pytest.warns(UserWarning, match=r"adds 'stripes', more than once: it is left out; .* (first|second)"):
            AdversarialBackground(tiny_classifier())
        with (
            pytest.warns(UserWarning, match="left out"),
            pytest.raises(ValueError, match=r"`background` \(='stripes'\) must be one of"),
        ):
            AdversarialBackground(tiny_classifier(), background="stripes")


def test_tasks_that_are_named_by_a_text_are_refused() -> None:
    with (
        plugged(plugin_of(advbg_tasks=lambda: "pose")),
        pytest.raises(PluginError, match="sequence of names, got 'pose'"),
    ):
        AdversarialBackground(tiny_classifier())


def test_a_mask_generator_of_a_plugin_that_makes_no_masks_is_refused() -> None:
    plugin = plugin_of(advbg_mask_generators=lambda: {"logits": lambda shape: lambda pixels: 10 * pixels[:, :1] - 5})
    with plugged(plugin):
        wrapper, _ = attached(mask_generator="logits", schedule=Schedule(0, 0))
        with pytest.raises(ValueError, match=r"made values over \[-5, .*\], expected masks in \[0, 1\]"):
            wrapper(a_batch()[0])


@pytest.mark.parametrize("tasks", [{}, {"advbg_tasks": lambda: None}], ids=["no hook", "no answer"])
@pytest.mark.parametrize("with_targets", [False, True])
def test_a_plugin_that_names_no_task_and_changes_targets_stops_nobody(tasks: Any, with_targets: bool) -> None:
    plugin = plugin_of(advbg_targets=lambda task, targets: None, **tasks)
    images, targets = a_batch()
    with plugged(plugin):
        wrapper, _ = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
        assert wrapper(images, targets=targets if with_targets else None).shape == (8, 4)


def test_a_factory_that_makes_no_source_or_mask_generator_is_named() -> None:
    plugin = plugin_of(
        advbg_background_sources=lambda: {"none": lambda shape, generator: 3},
        advbg_mask_generators=lambda: {"none": lambda shape: 3},
    )
    with plugged(plugin):
        for option in ("background", "mask_generator"):
            with pytest.raises(TypeError, match="the plugin that adds 'none' made 3"):
                adversarial_wrapper(**{option: "none"}).generate_parameters(a_batch()[0])

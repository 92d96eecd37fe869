"""The flags of training scripts."""

import argparse
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from advbg import AdversarialBackground, Photographs, Schedule
from advbg.integrations.arguments import add_advbg_arguments, advbg_options, wants_advbg
from advbg.masks import nonzero_mask
from advbg.options import Options
from tests.models import tiny_classifier
from tests.plugins import plugged, plugin_of

_DATA_CONFIG = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.1), "input_size": (3, 32, 32)}


def _parse(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_advbg_arguments(parser)
    return parser.parse_args(flags)


def _options(*flags: str, epochs: int = 10, updates_per_epoch: int = 20) -> dict[str, Any]:
    return advbg_options(_parse(*flags), _DATA_CONFIG, epochs=epochs, updates_per_epoch=updates_per_epoch)


def test_without_flags_it_is_off_and_every_default_is_the_librarys() -> None:
    assert _parse().advbg is False
    options = _options()
    assert Options(**{name: options[name] for name in options if name not in ("mean", "std", "schedule")}).names() == (
        Options().names()
    )
    assert options["seed"] == Options().seed
    assert options["schedule"] == Schedule.fractions(200)
    assert (options["mean"], options["std"]) == (_DATA_CONFIG["mean"], _DATA_CONFIG["std"])


def test_what_the_flags_say_reaches_the_wrapper() -> None:
    flags = ["--advbg-background=noise", "--advbg-clean-share=0.5", "--advbg-mask-generator=nonzero", "--advbg-halo=0"]
    flags += ["--advbg-placement=0.25", "--advbg-lighting=0.125", "--advbg-clutter=0.5", "--advbg-copies=0.75"]
    flags += ["--advbg-distractors=1.5", "--advbg-candidates=3"]
    flags += ["--advbg-hold-statistics"]
    wrapper = AdversarialBackground(tiny_classifier(), **_options(*flags, "--advbg-seed", "7"))
    chosen = wrapper.companions.options
    assert (chosen.background, chosen.clean_share, chosen.mask_generator) == ("noise", 0.5, "nonzero")
    assert (chosen.halo, chosen.seed) == (0.0, 7)
    assert chosen.hold_statistics
    assert (chosen.placement, chosen.lighting, chosen.clutter, chosen.copies) == (0.25, 0.125, 0.5, 0.75)
    assert (chosen.distractors, chosen.candidates) == (1.5, 3)
    assert wrapper.companions.pixel_space.mean == _DATA_CONFIG["mean"]
    assert wrapper.companions.pixel_space.std == _DATA_CONFIG["std"]


@pytest.mark.parametrize("flags", [[], ["--advbg"], ["--advbg", "--advbg-clutter", "0.5"]])
def test_a_script_asks_whether_to_use_them(flags: list[str]) -> None:
    assert wants_advbg(_parse(*flags)) == ("--advbg" in flags)


def test_flags_that_say_how_but_not_that_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="--advbg-mask-epochs, --advbg-clutter without `--advbg`: the training is"):
        assert not wants_advbg(_parse("--advbg-clutter", "0.5", "--advbg-mask-epochs", "1"))


@given(classifier=st.integers(0, 99), mask=st.integers(1, 99), updates=st.integers(1, 50), in_epochs=st.booleans())
def test_epochs_and_steps_say_the_same(classifier: int, mask: int, updates: int, in_epochs: bool) -> None:
    unit, scale = ("epochs", updates) if in_epochs else ("steps", 1)
    flags = (f"--advbg-classifier-{unit}", str(classifier), f"--advbg-mask-{unit}", str(mask))
    schedule = _options(*flags, epochs=200, updates_per_epoch=updates)["schedule"]
    assert schedule == Schedule(classifier * scale, mask * scale)


def test_epochs_may_be_fractions() -> None:
    schedule = _options("--advbg-classifier-epochs", "0", "--advbg-mask-epochs", "0.25")["schedule"]
    assert schedule == Schedule(classifier=0, mask=5)
    # 29 batches, but for the rounding of floats.
    flags = ("--advbg-classifier-epochs", "0.29", "--advbg-mask-epochs", "1.499")
    assert _options(*flags, updates_per_epoch=100)["schedule"] == Schedule(classifier=29, mask=150)


def test_a_folder_of_photographs_is_a_background(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 10, 10)).save(tmp_path / "red.png")
    assert isinstance(_options("--advbg-background", str(tmp_path))["background"], Photographs)


def test_parsed_values_are_plain_so_that_they_can_be_saved(tmp_path: Path) -> None:
    args = vars(_parse("--advbg", "--advbg-background", str(tmp_path), "--advbg-mask-steps", "3"))
    assert {type(value) for value in args.values()} <= {bool, int, float, str, type(None)}
    assert all(name.startswith("advbg") for name in args)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--advbg-clean-share", "2"], r"`clean_share` \(=2.0\) must be a share"),
        (["--advbg-halo", "-1"], r"`halo` \(=-1.0\) must be a share"),
        (["--advbg-background", "nowhere"], r"`--advbg-background` \(='nowhere'\) must be one of .*black, or a folder"),
        (["--advbg-mask-generator", "sam"], r"`mask_generator` \(='sam'\) must be one of unet, .*nonzero"),
        (["--advbg-mask-steps", "0"], r"the mask phase has 0 steps, but the mask generator 'unet' has to learn"),
        (["--advbg-mask-epochs", "0.001"], r"the mask phase has 0 steps"),
        (["--advbg-mask-steps", "-1"], r"`--advbg-mask-steps` \(=-1\) must be 0 or more"),
        (["--advbg-classifier-epochs", "-0.5"], r"`--advbg-classifier-epochs` \(=-0.5\) must be 0 or more"),
        (["--advbg-classifier-epochs", "nan"], r"`--advbg-classifier-epochs` \(=nan\) must be 0 or more"),
        (["--advbg-classifier-epochs", "9.5"], r"take 200 steps and the training has 200: pass smaller"),
    ],
)
def test_flags_that_make_no_sense_are_refused_before_training(flags: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _options(*flags)


def test_a_training_of_no_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`updates_per_epoch` \(=0\) must be 1 or more"):
        _options(updates_per_epoch=0)


def test_a_phase_has_one_length_and_the_parser_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _parse("--advbg-mask-steps", "1", "--advbg-mask-epochs", "1")
    assert "not allowed with argument" in capsys.readouterr().err


def test_a_mask_generator_of_a_plugin_can_be_chosen() -> None:
    with plugged(plugin_of(advbg_mask_generators=lambda: {"mine": lambda shape: nonzero_mask})):
        assert _options("--advbg-mask-generator", "mine")["mask_generator"] == "mine"


@pytest.mark.parametrize("mask", [0, 5])
def test_a_mask_generator_that_learns_nothing_needs_no_mask_phase(mask: int) -> None:
    flags = ("--advbg-mask-generator", "nonzero", "--advbg-mask-steps", str(mask), "--advbg-classifier-steps", "199")
    assert _options(*flags)["schedule"] == Schedule(classifier=199, mask=mask)


def test_the_help_can_be_printed_and_says_how_long_phases_are() -> None:
    parser = argparse.ArgumentParser()
    add_advbg_arguments(parser)
    text, schedule = " ".join(parser.format_help().split()), Schedule.fractions(1000)
    assert (
        f"epochs of plain training, may be a fraction (default: {schedule.classifier // 10}% of the training)" in text
    )
    assert f"epochs of learning masks, may be a fraction (default: {schedule.mask // 10}% of the training)" in text


def test_a_phase_whose_length_a_configuration_and_the_command_line_say_is_refused() -> None:
    parser = argparse.ArgumentParser()
    add_advbg_arguments(parser)
    parser.set_defaults(advbg_mask_steps=5)  # as timm's `--config` does
    args = parser.parse_args(["--advbg", "--advbg-mask-epochs", "3"])
    with pytest.raises(ValueError, match=r"`--advbg-mask-epochs` \(=3\.0\) and `--advbg-mask-steps` \(=5\) are two"):
        advbg_options(args, _DATA_CONFIG, epochs=10, updates_per_epoch=20)

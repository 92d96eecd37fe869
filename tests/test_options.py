"""What can be chosen, and the words with which the rest is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from advbg.backgrounds import SOURCE_NAMES, Black
from advbg.masks import MASK_GENERATOR_NAMES, PaperObjective, UNet, is_learned, make_mask_generator, nonzero_mask
from advbg.masks.binarization import binarize
from advbg.options import Options
from tests.models import tiny_classifier


def _unchecked(**choices: object) -> Options:
    """Options as they come where beartype, which is only at work in this suite, does not refuse them first."""
    options = object.__new__(Options)
    for name, default in vars(Options()).items():
        object.__setattr__(options, name, choices.get(name, default))
    options.__post_init__()
    return options


@pytest.mark.parametrize("background", SOURCE_NAMES)
@pytest.mark.parametrize("mask_generator", MASK_GENERATOR_NAMES)
def test_every_documented_name_is_accepted(background: str, mask_generator: str) -> None:
    names = Options(background=background, mask_generator=mask_generator).names()
    assert names["background"] == background
    assert names["mask_generator"] == mask_generator


def test_parts_of_ones_own_are_called_by_their_class_or_function() -> None:
    names = Options(background=Black(), mask_generator=nonzero_mask).names()
    assert names["background"] == "Black"
    assert names["mask_generator"] == "nonzero_mask"


@pytest.mark.parametrize(
    ("choices", "error", "message"),
    [
        ({"clean_share": -0.01}, ValueError, r"`clean_share` \(=-0.01\) must be a share in \[0, 1\]"),
        ({"clean_share": float("nan")}, ValueError, r"`clean_share` \(=nan\)"),
        ({"halo": 1.01}, ValueError, r"`halo` \(=1.01\) must be a share in \[0, 1\]"),
        ({"background": ""}, ValueError, r"`background` \(=''\) must be one of adversarial, random, scenes"),
        ({"background": object}, TypeError, r"`background` \(=<class 'object'>\) must have a method `sample"),
        (
            {"binarization": "kmeans"},
            ValueError,
            r"`binarization` \(='kmeans'\) must be one of 'otsu', '0.5', 'quantile'",
        ),
        ({"halo": None}, TypeError, r"`halo` \(=None\) must be a number"),
        ({"clean_share": "0.2"}, TypeError, r"`clean_share` \(='0.2'\) must be a number"),
        ({"background": "photographs/"}, ValueError, r"or a source, such as `Photographs\(folder\)`"),
        (
            {"background": Path("photographs")},
            TypeError,
            r"must have a method `sample.*, as `Photographs\(folder\)` has",
        ),
        ({"mask_generator": "sam"}, ValueError, r"`mask_generator` \(='sam'\) must be one of unet, studio, paper"),
        ({"mask_generator": 7}, TypeError, r"`mask_generator` \(=7\) must map pixels to masks"),
        ({"mask_generator": UNet}, TypeError, r"`mask_generator` \(=<class .*UNet'>\) must map pixels to masks"),
        ({"background": Black}, TypeError, r"`background` \(=<class .*Black'>\) must have a method `sample"),
        ({"mask_objective": "paper"}, TypeError, r"`mask_objective` \(='paper'\) must be an objective"),
        ({"mask_objective": PaperObjective}, TypeError, r"`mask_objective` \(=<class .*\) must be an objective"),
        ({"hold_statistics": "yes"}, TypeError, r"`hold_statistics` \(='yes'\) must be True or False"),
        ({"schedule": (1, 1)}, TypeError, r"`schedule` \(=\(1, 1\)\) must be an `advbg.Schedule`"),
    ],
)
def test_a_wrong_choice_is_refused_with_its_name_and_value(
    choices: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _unchecked(**choices)


@pytest.mark.parametrize(("name", "ends"), [("clean_share", (0, 1)), ("halo", (0.0, 1.0))])
def test_the_ends_of_a_range_belong_to_it(name: str, ends: tuple[float, float]) -> None:
    assert [getattr(_unchecked(**{name: end}), name) for end in ends] == list(ends)


def test_a_state_saved_with_another_part_is_refused_with_both_names() -> None:
    ours = Options()
    ours.check_saved(Options(seed=5).names())
    for part, other in (("background", "black"), ("mask_generator", "paper")):
        message = rf"saved with `{part}` '{other}', but these companions have '{getattr(ours, part)}'"
        with pytest.raises(RuntimeError, match=message):
            ours.check_saved(ours.names() | {part: other})


def test_an_option_that_there_was_not_yet_when_a_state_was_saved_had_its_default() -> None:
    saved = {name: value for name, value in Options().names().items() if name != "candidates"}
    Options().check_saved(saved)
    with pytest.warns(UserWarning, match="`candidates` 1, now 2$"):
        Options(candidates=2).check_saved(saved)


def test_an_unknown_way_to_binarise_is_refused_with_the_known_ones() -> None:
    unchecked = binarize.__wrapped__ if hasattr(binarize, "__wrapped__") else binarize
    with pytest.raises(ValueError, match=r"`method` \(='triangle'\) must be one of otsu, 0.5, quantile, none"):
        unchecked(torch.rand(1, 1, 4, 4), "triangle")


@pytest.mark.parametrize("name", MASK_GENERATOR_NAMES)
def test_a_mask_generator_is_made_by_its_name(name: str) -> None:
    generator = make_mask_generator(name, (3, 20, 30))
    assert generator(torch.rand(2, 3, 20, 30)).shape == (2, 1, 20, 30)
    assert is_learned(name) == (name != "nonzero")


def test_a_mask_generator_of_ones_own_is_taken_as_it_is_and_learns_where_it_has_something_to_learn() -> None:
    model = tiny_classifier()
    assert make_mask_generator(model, (3, 8, 8)) is model
    assert is_learned(model)
    assert not is_learned(model.requires_grad_(False))
    assert not is_learned(nonzero_mask)
    assert not is_learned(torch.nn.Identity())


def test_a_class_with_sample_is_a_source_and_needs_no_base_class() -> None:
    class Grey:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return torch.full((count, *shape), 0.5)

    assert Options(background=Grey()).names()["background"].endswith("Grey")


@pytest.mark.parametrize("seed", ["1", 1.5, True, None])
def test_a_seed_that_is_no_whole_number_is_refused_at_once(seed: object) -> None:
    with pytest.raises(TypeError, match=r"`seed` \(=.*\) must be a whole number"):
        _unchecked(seed=seed)
    assert _unchecked(seed=np.int64(3)).seed == 3


def test_whether_statistics_are_held_is_among_the_names_that_are_saved() -> None:
    assert [Options(hold_statistics=held).names()["hold_statistics"] for held in (False, True)] == [False, True]

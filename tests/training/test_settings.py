"""What `fit` is told."""

from pathlib import Path

import pytest
from PIL import Image

from advbg.backgrounds import photographs
from advbg.training.settings import FitSettings, photographs_in
from advbg.training.tunings import GENTLE, ORDINARY, PLAIN


@pytest.mark.parametrize("tuning", [PLAIN, ORDINARY, GENTLE])
def test_what_is_said_of_composites_takes_the_place_of_what_suits_the_tuning(tuning: str) -> None:
    said = {"clean_share": 0.375, "placement": 0.25, "lighting": 0.125}
    options = FitSettings.of(tuning, pretrained=True, **said).companion_options() or {}
    assert {name: options[name] for name in said} == said
    unsaid = FitSettings.of(tuning, pretrained=True, **dict.fromkeys(said))
    assert unsaid == FitSettings.of(tuning, pretrained=True)


@pytest.mark.parametrize("name", ["clean_share", "placement", "lighting"])
@pytest.mark.parametrize("method", ["baseline", "paper"])
def test_what_makes_no_difference_to_a_method_is_refused(method: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}` \\(=0.25\\) makes no difference to `method` {method}"):
        FitSettings.of(PLAIN, method=method, **{name: 0.25})


def test_a_folder_of_photographs_is_listed_no_more_when_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    settings = FitSettings(method="photographs", photographs=str(tmp_path), leave_out=(str(tmp_path / "a.png"),))
    monkeypatch.setattr(photographs, "list_images", lambda *_: pytest.fail("listed again"))
    for _ in range(2):
        (source,) = photographs_in(settings.companion_options() or {})
        assert source.files == [tmp_path / "b.png"]


def test_options_that_are_changed_are_changed_for_nobody_else() -> None:
    settings = FitSettings()
    options = settings.companion_options() or {}
    options["copies"] = 0.5
    assert (settings.companion_options() or {})["copies"] == 0.0


def test_in_an_ordinary_script_with_photographs_the_proposal_chooses_the_harder_of_two(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "photograph.png")
    mixed = f"adversarial=1,{tmp_path}=1"
    for said, expected in (
        ({}, 1),
        ({"candidates": 4}, 4),
        ({"background": "scenes"}, 1),
        ({"background": "adversarial=1,noise=1"}, 1),
        ({"background": str(tmp_path)}, None),
        ({"background": mixed}, None),
        ({"background": mixed, "candidates": 1}, 1),
        ({"background": mixed, "candidates": 3}, 3),
    ):
        for tuning, suits in ((PLAIN, 1), (ORDINARY, 2), (GENTLE, 1)):
            settings = FitSettings.of(tuning, pretrained=True, **said)
            assert (settings.companion_options() or {})["candidates"] == (expected or suits)
    photographs = FitSettings.of("gentle", method="photographs", photographs=str(tmp_path))
    assert "candidates" not in (photographs.companion_options() or {})

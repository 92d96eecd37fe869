"""The page about a run of `advbg train`."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from advbg.report.page import write_report
from advbg.report.pictures import _shade_phases, thumbnail
from advbg.report.runs import read_run
from tests.report.made_up import Page, make_run, run_report, shown


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_report([read_run(make_run(tmp_path / "run"))], tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_each_class_has_its_accuracy_before_each_pattern_but_no_pictures_of_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["sets"]["held-out, before clock"] = results["sets"]["held-out"]
    (folder / "results.json").write_text(json.dumps(results))
    write_report([read_run(folder)], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<th>held-out, before clock</th>" in page
    assert "<h3>outdoors</h3>" in page
    assert "<h3>held-out, before clock</h3>" not in page


@pytest.mark.parametrize(("replaceable", "said"), [(0, "10 of 10 images"), (7, "3 of 10 images"), (10, None)])
def test_images_without_a_plain_background_are_said_to_be_left_out(
    tmp_path: Path, replaceable: int, said: str | None
) -> None:
    folder = make_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["images"] |= {"held_out": 10, "replaceable": replaceable, "background_share": 40.0}
    (folder / "results.json").write_text(json.dumps(results))
    write_report([read_run(folder)], tmp_path / "page.html")
    page = " ".join((tmp_path / "page.html").read_text(encoding="utf-8").split())
    assert ("are left out of them" in page) == (said is not None)
    assert said is None or f"{said}, of which next to nothing was found to be background" in page


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    addresses = Page(page).addresses
    assert len(addresses) > 3
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_accuracies_stand_with_their_intervals(page: str) -> None:
    texts = Page(page).texts
    place = texts.index("outdoors")
    assert texts[place + 1 : place + 4] == ["80.0", "49.0 to 94.3", "10"]
    assert "none" in texts  # of the class without images


def test_names_of_people_are_text_and_no_markup(page: str) -> None:
    assert "Äpfel <b>" in Page(page).texts
    assert "mug & cup" in Page(page).texts
    assert "<script>" not in page


def test_names_in_no_encoding_and_names_like_formulas_are_shown(tmp_path: Path) -> None:
    classes = (b"caf\xe9".decode("utf-8", "surrogateescape"), "tea")
    runs = [read_run(make_run(tmp_path / name, classes=classes)) for name in ("first", "r2$_$")]
    write_report(runs, tmp_path / "page.html")
    texts = " ".join(Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts)
    assert "caf\\udce9" in texts
    assert "r2$_$" in texts


def test_failures_are_pictures_unless_their_file_is_gone(page: str) -> None:
    parsed = Page(page)
    assert sum(address.startswith("data:image/jpeg") for address in parsed.addresses) == 2
    assert parsed.texts.count("file is gone") == 2
    assert "0.99" in parsed.texts


def test_composites_over_the_training_are_there_with_their_epoch(page: str) -> None:
    parsed = Page(page)
    assert "epoch 3" in parsed.texts
    png = next(address for address in parsed.addresses if address.startswith("data:image/png"))
    assert Image.open(io.BytesIO(base64.b64decode(png.partition(",")[2]))).size == (30, 20)


def test_what_was_skipped_is_said(page: str) -> None:
    assert any("broken.jpg" in text for text in Page(page).texts)


def test_thumbnails_are_small_and_on_white_and_show_what_the_model_has_seen(tmp_path: Path) -> None:
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 90, 200))  # outside of the middle square
    image.save(tmp_path / "clear.png")
    whole, middle = (shown(thumbnail(tmp_path / "clear.png", fit)) for fit in ("pad", "crop"))
    assert whole.size == middle.size == (128, 128)
    assert np.asarray(middle).min() > 245
    assert np.asarray(whole)[64, 5, 0] < 20
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert thumbnail(tmp_path / "broken.png", "pad") is None


def test_failures_of_each_set_are_shown_as_that_set_was(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    image = Image.new("RGB", (400, 200), "white")
    image.paste((0, 0, 255), (0, 0, 90, 200))
    image.save(folder / "blue.png")
    write_report([read_run(folder)], tmp_path / "page.html")
    addresses = Page((tmp_path / "page.html").read_text(encoding="utf-8")).addresses
    held_out, outdoors = (shown(one) for one in addresses if one.startswith("data:image/jpeg"))
    assert np.asarray(held_out).min() < 20
    assert np.asarray(outdoors).min() > 245


def test_of_many_classes_the_most_frequent_confusions_are_listed(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    classes = [f"kind {index}" for index in range(50)]
    confusion = np.diag(np.full(50, 5))
    confusion[7, 3], confusion[2, 4] = 9, 2
    share = {"n": 5, "accuracy": 80.0, "interval": [49.02, 94.33]}
    rated = {"confusion": confusion.tolist(), "failures": [], "per_class": dict.fromkeys(classes, share), **share}
    results |= {"classes": classes, "sets": {"held-out": rated}}
    (folder / "results.json").write_text(json.dumps(results))
    write_report([read_run(folder)], tmp_path / "page.html")
    texts = Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts
    place = texts.index("held-out: what is confused most")
    assert texts[place + 5 : place + 13] == ["kind 7", "kind 3", "9", "14", "kind 2", "kind 4", "2", "7"]
    assert "truth \\ predicted" not in texts


def test_a_run_on_a_gpu_names_it(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results |= {"device": "cuda:0", "machine": results["machine"] | {"gpu": "a graphics card"}}
    (folder / "results.json").write_text(json.dumps(results))
    write_report([read_run(folder)], tmp_path / "page.html")
    assert "12.5 s on cuda:0 (a graphics card)" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_bands_are_as_wide_as_their_phases_had_steps() -> None:
    axes = Figure().subplots()
    _shade_phases(axes, [{"phases": ["classifier", "adversarial"], "steps": {"classifier": 1, "adversarial": 3}}])
    first, second = (band.get_extents().transformed(axes.transData.inverted()) for band in axes.patches)
    assert (first.x0, first.x1, second.x1) == pytest.approx((0.5, 0.75, 1.5))


def _turn_into_a_run_of_reproduce(run: Path) -> None:
    (run / "results.json").write_text("{}")
    (run / "history.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda run: (run / "results.json").unlink(), "has no results.json: it is no finished run"),
        (lambda run: (run / "results.json").write_text("{"), "results.json is damaged"),
        (lambda run: (run / "results.json").write_text("{}"), "is not from `advbg train`: it has no sets"),
        (_turn_into_a_run_of_reproduce, "is not from `advbg train`: it has no sets"),
        (lambda run: (run / "history.json").unlink(), "history.json is damaged"),
    ],
)
def test_what_is_no_run_is_refused_in_one_line(
    spoil: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run")
    spoil(run)
    assert run_report(monkeypatch, run) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert message in said
    assert not (run / "report.html").exists()


def test_a_thumbnail_of_16_bits_is_as_bright_as_what_was_trained_on(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    picture = shown(thumbnail(tmp_path / "ramp.png", "pad"))
    assert np.asarray(picture).mean() == pytest.approx(127.5, abs=2)


def test_figures_of_a_long_training_are_in_its_order(tmp_path: Path) -> None:
    figures = make_run(tmp_path / "run") / "figures"
    for name in ("01", "02", "30", "120"):
        (figures / f"composites-epoch-{name}.png").touch()
    (figures / "mine.png").touch()
    numbers = [file.stem[-3:].lstrip("-") for file in read_run(tmp_path / "run").figures]
    assert numbers == ["01", "02", "03", "30", "120"]

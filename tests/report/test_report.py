"""The page about a run of `advbg train`."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advbg import cli
from advbg.report.page import write_report
from advbg.report.pictures import thumbnail
from advbg.report.runs import read_run
from tests.training.made_up import a_folder

_VOID = {"meta", "img", "br", "link", "rect", "line", "path", "use", "input", "hr"}


class _Page(HTMLParser):
    """Checks that tags are closed in order; gathers texts, addresses and table cells."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(" ".join(data.split()))


def _rated(classes: list[str], file: Path) -> dict[str, Any]:
    share = {"n": 10, "accuracy": 80.0, "interval": [49.02, 94.33]}
    nobody = {"n": 0, "accuracy": None, "interval": None}
    return {
        **share,
        "per_class": {classes[0]: share, classes[1]: nobody},
        "confusion": [[8, 2], [0, 0]],
        "failures": [
            {"file": str(file), "truth": classes[0], "predicted": classes[1], "confidence": 0.987},
            {"file": str(file.with_name("gone.png")), "truth": classes[0], "predicted": classes[1], "confidence": 0.5},
        ],
    }


def _make_run(folder: Path, method: str = "proposal", classes: tuple[str, str] = ("Äpfel <b>", "mug & cup")) -> Path:
    (folder / "figures").mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(folder / "figures" / "composites-epoch-03.png")
    Image.new("RGBA", (400, 200), (0, 0, 255, 128)).save(folder / "blue.png")
    names = list(classes)
    results = {
        "method": method,
        "model": "resnet18",
        "seed": 0,
        "settings": {"folder": "studio", "weights": "</pre><script>"},
        "machine": {"processor": "a processor", "cores": 2},
        "versions": {"torch": "2"},
        "device": "cpu",
        "classes": names,
        "images": {"size": 64, "training": 40, "held_out": 10, "unreadable": ["broken.jpg"], "passed_over": {}},
        "seconds": 12.5,
        "phase_seconds": {"classifier": 2.5, "mask": 4.0, "adversarial": 6.0},
        "sets": {"held-out": _rated(names, folder / "blue.png"), "outdoors": _rated(names, folder / "blue.png")},
    }
    phases = ("classifier", "mask", "adversarial")
    history = [{"loss": 2.0 / n, "held_out_accuracy": 30.0 * n, "phases": [phase]} for n, phase in enumerate(phases, 1)]
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "history.json").write_text(json.dumps(history))
    return folder


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["advbg", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture
def page(tmp_path: Path) -> str:
    write_report([read_run(_make_run(tmp_path / "run"))], tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_each_class_has_its_accuracy_before_each_pattern_but_no_pictures_of_it(tmp_path: Path) -> None:
    folder = _make_run(tmp_path / "run")
    results = json.loads((folder / "results.json").read_text())
    results["sets"]["held-out, before clock"] = results["sets"]["held-out"]
    (folder / "results.json").write_text(json.dumps(results))
    write_report([read_run(folder)], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<th>held-out, before clock</th>" in page
    assert "<h3>outdoors</h3>" in page
    assert "<h3>held-out, before clock</h3>" not in page


def test_the_page_needs_nothing_beside_it(page: str) -> None:
    addresses = _Page(page).addresses
    assert len(addresses) > 3
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_accuracies_stand_with_their_intervals(page: str) -> None:
    texts = _Page(page).texts
    place = texts.index("outdoors")
    assert texts[place + 1 : place + 4] == ["10", "80.0", "49.0 to 94.3"]
    assert "none" in texts  # of the class without images


def test_names_of_people_are_text_and_no_markup(page: str) -> None:
    assert "Äpfel <b>" in _Page(page).texts
    assert "mug & cup" in _Page(page).texts
    assert "<script>" not in page


def test_names_in_no_encoding_and_names_like_formulas_are_shown(tmp_path: Path) -> None:
    classes = (b"caf\xe9".decode("utf-8", "surrogateescape"), "tea")
    runs = [read_run(_make_run(tmp_path / name, classes=classes)) for name in ("first", "r2$_$")]
    write_report(runs, tmp_path / "page.html")
    texts = " ".join(_Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts)
    assert "caf\\udce9" in texts
    assert "r2$_$" in texts


def test_failures_are_pictures_unless_their_file_is_gone(page: str) -> None:
    parsed = _Page(page)
    assert sum(address.startswith("data:image/jpeg") for address in parsed.addresses) == 2
    assert parsed.texts.count("file is gone") == 2
    assert "0.99" in parsed.texts


def test_composites_over_the_training_are_there_with_their_epoch(page: str) -> None:
    parsed = _Page(page)
    assert "epoch 3" in parsed.texts
    png = next(address for address in parsed.addresses if address.startswith("data:image/png"))
    assert Image.open(io.BytesIO(base64.b64decode(png.partition(",")[2]))).size == (30, 20)


def test_what_was_skipped_is_said(page: str) -> None:
    assert any("broken.jpg" in text for text in _Page(page).texts)


def test_runs_are_compared_set_by_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, other = _make_run(tmp_path / "ours"), _make_run(tmp_path / "theirs", "baseline")
    results = json.loads((other / "results.json").read_text())
    del results["sets"]["outdoors"]
    results["phase_seconds"] = {"plain": 5.0}
    (other / "results.json").write_text(json.dumps(results))
    assert _run(monkeypatch, run, "--against", other) == 0
    texts = _Page((run / "report.html").read_text(encoding="utf-8")).texts
    place = texts.index("held-out")
    assert texts[place + 1 : place + 9] == [
        *("proposal (ours)", "10", "80.0", "49.0 to 94.3"),
        *("baseline (theirs)", "10", "80.0", "49.0 to 94.3"),
    ]
    assert "5.0" in texts


def test_runs_of_advbg_train_are_reported_on_and_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio, outdoors = a_folder(tmp_path / "studio"), a_folder(tmp_path / "outdoors", count=2, seed=50)
    shared = ["train", studio, "--model", "test_resnet", "--image-size", 32, "--batch-size", 4, "--epochs", 2]
    for method in ("proposal", "baseline"):
        arguments = ["--method", method, "--test", outdoors, "--output", tmp_path / method]
        monkeypatch.setattr(sys, "argv", ["advbg", *map(str, [*shared, *arguments])])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
    assert _run(monkeypatch, tmp_path / "proposal", "--against", tmp_path / "baseline") == 0
    page = _Page((tmp_path / "proposal" / "report.html").read_text(encoding="utf-8"))
    assert {"outdoors", "blå", "baseline (baseline)", "epoch 2"} <= set(page.texts)
    assert any(address.startswith("data:image/png") for address in page.addresses)


def test_thumbnails_are_small_upright_and_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (400, 200), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    image.save(tmp_path / "clear.png", exif=exif)
    made = thumbnail(tmp_path / "clear.png")
    assert made is not None
    picture = Image.open(io.BytesIO(base64.b64decode(made.partition(",")[2])))
    assert picture.size == (64, 128)
    assert picture.convert("RGB").getpixel((5, 5)) == (255, 255, 255)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert thumbnail(tmp_path / "broken.png") is None


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
    run = _make_run(tmp_path / "run")
    spoil(run)
    assert _run(monkeypatch, run) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert message in said
    assert not (run / "report.html").exists()


def test_runs_of_other_classes_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, other = _make_run(tmp_path / "run"), _make_run(tmp_path / "other", classes=("pear", "plum"))
    assert _run(monkeypatch, run, "--against", other) == 2
    assert "has the classes pear, plum" in capsys.readouterr().err
    assert _run(monkeypatch, tmp_path / "nowhere") == 2
    assert _run(monkeypatch, run, "--output", tmp_path / "nowhere" / "page.html") == 2


def test_a_thumbnail_of_16_bits_is_as_bright_as_what_was_trained_on(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    made = thumbnail(tmp_path / "ramp.png")
    assert made is not None
    picture = Image.open(io.BytesIO(base64.b64decode(made.partition(",")[2])))
    assert np.asarray(picture).mean() == pytest.approx(127.5, abs=2)

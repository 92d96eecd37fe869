"""Made-up runs of `advbg train`, and a look at their pages."""

import base64
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.command_line import run

_VOID = {"meta", "img", "br", "link", "rect", "line", "path", "use", "input", "hr"}


class Page(HTMLParser):
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


def make_run(folder: Path, method: str = "proposal", classes: tuple[str, str] = ("Äpfel <b>", "mug & cup")) -> Path:
    (folder / "figures").mkdir(parents=True)
    Image.new("RGB", (30, 20), "red").save(folder / "figures" / "composites-epoch-03.png")
    Image.new("RGBA", (400, 200), (0, 0, 255, 128)).save(folder / "blue.png")
    names = list(classes)
    results = {
        "method": method,
        "model": "resnet18",
        "seed": 0,
        "settings": {"folder": "studio", "weights": "</pre><script>", "fit": "pad", "test_fit": "crop"},
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
    split = {"training": ["studio/1.jpg", "studio/2.jpg"], "held_out": ["studio/3.jpg"]}
    (folder / "split.json").write_text(json.dumps(split))
    return folder


def run_report(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    return run(monkeypatch, "report", *arguments)


def shown(made: str | None) -> Image.Image:
    assert made is not None
    return Image.open(io.BytesIO(base64.b64decode(made.partition(",")[2])))

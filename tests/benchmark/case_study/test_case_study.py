"""The case studies: from a studio to other places."""

import json
import re
import shutil
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file

from advbg.benchmark.case_study import attention
from advbg.benchmark.case_study.pages import rich_table, write_page
from advbg.benchmark.case_study.rows import ROWS
from advbg.benchmark.case_study.studies import Images, Study, load_study
from advbg.benchmark.case_study.testing import HELD_OUT, NEW_BACKGROUND, columns_of
from advbg.training.models import create_model
from advbg.training.settings import FitSettings
from advbg.training.silhouettes import flooded_silhouettes
from advbg.training.testing import predict
from tests.benchmark.case_study.commands import command
from tests.command_line import run
from tests.training.made_up import COLORS, a_picture, some_data

_PUBLISHED = Path(__file__).parents[3] / "docs" / "results" / "case-studies"
_REAL_DATA = Path(__file__).parents[4] / "shared" / "data"


def test_every_row_is_measured_in_every_column(finished: Path) -> None:
    results = json.loads((finished / "run" / "results.json").read_text())
    columns = [HELD_OUT, NEW_BACKGROUND, "webcam", "dslr"]
    assert list(results["images"]) == ["training", *columns]
    assert results["images"] == dict(zip(results["images"], (15, 3, 12, 18, 18), strict=True))
    for seed in ("0", "1"):
        assert tuple(results["seeds"][seed]) == ROWS
        for row, measured in results["seeds"][seed].items():
            assert list(measured["accuracy"]) == columns
            assert ("mask" in measured) == (row not in ("baseline", "attention"))
            assert measured["seconds"] == pytest.approx(sum(measured["phase_seconds"].values()), abs=0.3)


def test_the_page_shows_what_was_measured(finished: Path) -> None:
    page = (finished / "docs" / "case-studies" / "index.md").read_text()
    seeds = json.loads((finished / "run" / "results.json").read_text())["seeds"]
    values = [seeds[seed]["proposal"]["accuracy"]["webcam"] for seed in ("0", "1")]
    row = next(line for line in page.splitlines() if line.startswith("| proposal |"))
    assert row.split("|")[4].strip() == f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"
    assert "from random weights" in page
    assert "| accuracy | 71.9 | 45.8 | 76.3 | 59.6 | 88.7 | 93.8 |" in page
    assert "](office10-scratch/accuracy.png)" in page
    for figure in (finished / "docs/case-studies/office10-scratch/accuracy.png", finished / "run/examples.png"):
        assert np.asarray(Image.open(figure)).std() > 0


def test_a_narrow_terminals_table_has_every_rows_whole_name(finished: Path) -> None:
    console = Console(width=80, record=True, file=StringIO())
    console.print(rich_table(json.loads((finished / "run" / "results.json").read_text())))
    lines = console.export_text().splitlines()
    width = min(len(re.split(r"\d", line)[0]) for line in lines if " ± " in line)
    assert "".join(ROWS).replace(" ", "") in "".join(line[:width] for line in lines).replace(" ", "")


def test_a_terminal_of_80_columns_cuts_names_of_rows_between_words_only() -> None:
    console = Console(width=80, record=True, file=StringIO())
    results = json.loads((_PUBLISHED / "office10-ordinary" / "results.json").read_text())
    console.print(rich_table(results))
    words = console.export_text().split()
    assert {word for rows in results["seeds"].values() for row in rows for word in row.split()} <= {*words}


def test_a_study_that_is_tuned_gently_shows_the_plain_baseline_beside_its_own(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, docs = tmp_path / "weights.safetensors", tmp_path / "docs"
    save_file(create_model("test_efficientnet", 5, seed=0).state_dict(), file)
    for tuning, rows in (("plain", "baseline,black"), ("gentle", "baseline")):
        more = ("--weights", file, "--tuning", tuning, "--rows", rows, "--seeds", "0", "--published", docs)
        assert run(monkeypatch, *command(data_dir, tmp_path / tuning, *more)) == 0
    page = (docs / "case-studies" / "index.md").read_text()
    gentle, plain = page.split("tuned plainly\n\n", 1)
    measured = json.loads((docs / "case-studies" / "office10-plain" / "results.json").read_text())["seeds"]["0"]
    assert "from ImageNet weights, tuned gently" in gentle
    row = next(line for line in gentle.splitlines() if line.startswith("| *baseline, tuned plainly at 0.0005* |"))
    assert row.split("|")[4].strip() == f"{measured['baseline']['accuracy']['webcam']:.1f}"
    assert "*baseline, tuned plainly" not in plain
    settings = json.loads((docs / "case-studies" / "office10" / "results.json").read_text())["settings"]
    of_gentle = {"tuning": "gentle", "learning_rate": 2e-4, "hold_statistics": True, "interpolation": 0.6}
    assert settings.items() >= of_gentle.items()
    file = docs / "case-studies" / "office10-plain" / "results.json"
    plain_results = json.loads(file.read_text())
    # A baseline has no composites, so what they are like does not keep it from standing there.
    others = {"clutter": 0.75, "copies": 0.5, "clean_share": 0.75, "mask_share": 0.75}
    file.write_text(json.dumps(plain_results | {"settings": plain_results["settings"] | others}))
    assert "*baseline, tuned plainly" in write_page(docs).read_text()
    for part, name, value in (("settings", "epochs", 4), ("images", "training", 3)):
        file.write_text(json.dumps(plain_results | {part: plain_results[part] | {name: value}}))
        assert "*baseline, tuned plainly" not in write_page(docs).read_text()


def test_a_study_with_copies_stands_beside_that_without(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    more = ("--copies", "0.5", "--seeds", "0", "--rows", "baseline,paper,black", "--published", tmp_path / "docs")
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", *more)) == 0
    results = json.loads((tmp_path / "docs/case-studies/office10-scratch-copies/results.json").read_text())
    before = json.loads((finished / "run" / "results.json").read_text())
    assert results["settings"] == before["settings"] | {"copies": 0.5}
    for row, same in (("baseline", True), ("paper", True), ("black", False)):
        assert (results["seeds"]["0"][row]["accuracy"] == before["seeds"]["0"][row]["accuracy"]) == same, row
    page = (tmp_path / "docs" / "case-studies" / "index.md").read_text()
    assert page.count("from random weights\n") == page.count("from random weights, with copies\n") == 1
    assert "`lighting` 0.4 and `copies` 0.5" in page


def test_a_study_in_bfloat16_stands_beside_that_in_float32(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished / "docs", tmp_path / "docs")
    more = ("--precision", "bfloat16", "--seeds", "0", "--rows", "baseline", "--published", tmp_path / "docs")
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", *more)) == 0
    results = json.loads((tmp_path / "docs/case-studies/office10-scratch-bfloat16/results.json").read_text())
    before = json.loads((finished / "run" / "results.json").read_text())
    assert results["settings"] == before["settings"] | {"precision": "bfloat16"}
    page = (tmp_path / "docs" / "case-studies" / "index.md").read_text()
    assert page.count("from random weights\n") == page.count("from random weights, in bfloat16\n") == 1


def test_a_study_with_held_statistics_stands_beside_that_without(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, docs, held = tmp_path / "weights.safetensors", tmp_path / "docs", []
    save_file(create_model("test_efficientnet", 5, seed=0).state_dict(), file)
    monkeypatch.setattr("advbg.training.fit.hold_statistics", held.append)
    for name, more in (("office10-plain", ()), ("office10-plain-held", ("--hold-statistics",))):
        more += ("--weights", file, "--tuning", "plain", "--rows", "baseline", "--seeds", "0", "--published", docs)
        assert run(monkeypatch, *command(data_dir, tmp_path / name, *more)) == 0
        results = json.loads((docs / "case-studies" / name / "results.json").read_text())
        assert results["settings"]["hold_statistics"] == ("held" in name)
        # In each of the three epochs.
        assert len(held) == (3 if "held" in name else 0)
    page = (docs / "case-studies" / "index.md").read_text()
    assert page.count("tuned plainly\n") == page.count("tuned plainly, statistics held\n") == 1


def test_attention_can_be_tuned_gently(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(create_model("test_efficientnet", 5, seed=0).state_dict(), file)
    more = ("--weights", file, "--rows", "attention", "--seeds", "0")
    assert run(monkeypatch, *command(data_dir, tmp_path / "run", *more)) == 0
    measured = json.loads((tmp_path / "run" / "results.json").read_text())["seeds"]["0"]["attention"]
    assert measured["phase_seconds"].keys() == {"plain", "classifier alone"}


def test_only_pictures_that_a_licence_lets_others_show_are_published(
    finished: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (finished / "docs/case-studies/office10-scratch/examples.png").exists()
    arguments = command(data_dir, tmp_path / "run", "--seeds", "0", "--rows", "proposal", "--published", tmp_path)
    assert run(monkeypatch, *["fruits" if word == "office10" else word for word in arguments]) == 0
    published = tmp_path / "case-studies" / "fruits-scratch" / "examples.png"
    assert published.read_bytes() == (tmp_path / "run" / "examples.png").read_bytes()
    assert "](fruits-scratch/examples.png)" in (tmp_path / "case-studies" / "index.md").read_text()


def test_a_row_is_the_same_whenever_it_is_trained(finished: Path, data_dir: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert run(monkeypatch, *command(data_dir, tmp_path / "run", "--seeds", "1", "--rows", "attention,random")) == 0
    ours, theirs = (json.loads((path / "run/results.json").read_text())["seeds"]["1"] for path in (tmp_path, finished))
    for row in ("attention", "random"):
        assert ours[row]["accuracy"] == theirs[row]["accuracy"]


def test_a_missing_folder_is_named(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *command(tmp_path, tmp_path / "run")) == 2
    assert "office10/amazon" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"`study` \(='cars'\) must be one of office10, fruits, insulators"):
        load_study("cars", data_dir, 32)


def test_insulators_are_read_from_the_authors_folders(data_dir: Path) -> None:
    study = load_study("insulators", data_dir, 32)
    assert study.classes == ("IPL", "IPN", "IPV", "ISB")
    assert len(study.training.pixels) + len(study.held_out.pixels) == 4 * 3
    assert {name: len(images.pixels) for name, images in study.elsewhere.items()} == {"drone 1": 20, "drone 2": 40}
    assert study.elsewhere["drone 2"].targets.bincount().tolist() == [10, 10, 10, 10]


def test_a_set_of_insulators_that_is_missing_is_named(tmp_path: Path) -> None:
    for kind in ("IPL", "IPN", "IPV"):
        folder = tmp_path / "components" / f"data_{kind}_1"
        folder.mkdir(parents=True)
        a_picture().save(folder / "0.png")
    with pytest.raises(NotADirectoryError, match=r"components/data_ISB_1"):
        load_study("insulators", tmp_path, 32)


def test_a_flood_leaves_the_object_and_what_it_encloses() -> None:
    pixels = torch.full((2, 3, 20, 24), 250, dtype=torch.uint8)
    pixels[0, :, 5:15, 6:16] = 90
    pixels[0, :, 8:12, 9:13] = 250  # a hole, which a flood from the border does not reach
    pixels[1, 0, 3:9, 2:20] = 40  # other in one channel only
    silhouettes = flooded_silhouettes(pixels)
    assert silhouettes.shape == (2, 1, 20, 24)
    expected = torch.zeros(2, 1, 20, 24, dtype=torch.bool)
    expected[0, 0, 5:15, 6:16] = True
    expected[1, 0, 3:9, 2:20] = True
    assert torch.equal(silhouettes, expected)


def test_the_pure_change_of_background_leaves_every_pixel_of_the_object(data_dir: Path) -> None:
    study = load_study("office10", data_dir, 32)
    columns = columns_of(study, data_dir / "photographs")
    changed, count = columns.sets[NEW_BACKGROUND], len(study.held_out.pixels)
    assert torch.equal(changed.targets, study.held_out.targets.repeat(4))
    for version in changed.pixels.split(count):
        objects = study.silhouettes.expand(-1, 3, -1, -1)
        assert torch.equal(version[objects], study.held_out.pixels[objects])
        assert (version[~objects] != study.held_out.pixels[~objects]).float().mean() > 0.9
    again = columns_of(study, data_dir / "photographs")
    assert torch.equal(again.sets[NEW_BACKGROUND].pixels, changed.pixels)


def test_the_attention_looks_twice_and_leaves_its_global_branch_as_it_is(tmp_path: Path) -> None:
    data = some_data()
    model = create_model("test_efficientnet", len(COLORS), seed=0)
    fitted = attention.fit_attention(
        model, data, FitSettings(method="baseline", epochs=3, batch_size=6), tmp_path / "state.pt", lambda _: None
    )
    around = fitted.model
    assert isinstance(around, attention.AttentionAround)
    assert around.global_branch is model
    alone = attention.fit(
        create_model("test_efficientnet", len(COLORS), seed=0),
        data,
        FitSettings(method="baseline", epochs=1, batch_size=6),
    )
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name
    assert not torch.equal(predict(around, data.images), predict(model, data.images))


def test_a_model_without_feature_maps_cannot_be_attended(tmp_path: Path) -> None:
    model = create_model("test_vit", 3, seed=0, image_size=32)
    with pytest.raises(ValueError, match=r"needs a model with feature maps"):
        attention.AttentionAround(model, 3, 32)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 1, 768\)"):
        attention.AttentionAround(create_model("swin_tiny_patch4_window7_224", 3, seed=0, image_size=32), 3, 32)


@pytest.mark.skipif(not _REAL_DATA.is_dir(), reason="needs ../shared/data")
def test_the_real_studies_are_as_large_as_they_are_said_to_be() -> None:
    office = load_study("office10", _REAL_DATA, 32)
    counts = len(office.training.pixels) + len(office.held_out.pixels)
    assert (counts, len(office.elsewhere["webcam"].pixels), len(office.elsewhere["dslr"].pixels)) == (958, 295, 157)
    assert 0.1 < office.silhouettes.float().mean() < 0.7


def test_a_study_keeps_the_held_out_images_out_of_its_training(data_dir: Path) -> None:
    study = load_study("fruits", data_dir, 32)
    assert isinstance(study, Study)
    training: Images = study.training
    known = {image.numpy().tobytes() for image in training.pixels}
    assert not known & {image.numpy().tobytes() for image in study.held_out.pixels}


def test_the_documentations_page_is_that_of_its_results(tmp_path: Path) -> None:
    (tmp_path / "case-studies").mkdir()
    for file in _PUBLISHED.glob("*/*"):
        target = tmp_path / "case-studies" / file.relative_to(_PUBLISHED)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    assert write_page(tmp_path).read_text() == (_PUBLISHED / "index.md").read_text()

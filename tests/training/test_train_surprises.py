"""`advbg train` where folders, disks and people do what nobody expects."""

import json
import os
import shutil
from pathlib import Path

import pytest

from advbg.benchmark.demonstrations.tables import table_rows
from advbg.command_line import claim_folder, run_folder
from advbg.integrations.tensorboard import TensorBoardLogger
from advbg.report.runs import read_run
from advbg.training.folders import find_classes, load_images
from advbg.training.state import steps_taken
from tests.command_line import run
from tests.training.command_line import results_of, train
from tests.training.made_up import a_folder, a_picture


def test_two_trainings_that_look_for_a_folder_at_once_get_one_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mkdir, late = Path.mkdir, []

    def somebody_was_faster(self: Path, *arguments: object, **options: object) -> None:
        if not late and self.name.startswith("train"):
            late.append(self)
            mkdir(self, parents=True)
        mkdir(self, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", somebody_was_faster)
    assert claim_folder("train") == Path("runs/train-002")
    assert late == [Path("runs/train-001")]


def test_a_job_that_says_resume_from_the_first_does_not_take_a_folder_that_another_has_begun_meanwhile(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def read_while_another_begins(*arguments, **options):
        Path("runs/train-001").mkdir(parents=True, exist_ok=True)
        return load_images(*arguments, **options)

    monkeypatch.setattr("advbg.training.prepare.load_images", read_while_another_begins)
    options = ("--model", "test_efficientnet", "--image-size", 32, "--epochs", 2, "--method", "baseline")
    assert run(monkeypatch, "train", folder, *options, "--resume") == 0
    assert not list(Path("runs/train-001").iterdir())
    assert results_of(Path("runs/train-002"))["method"] == "baseline"


def test_a_thousandth_run_is_numbered_and_resumed_as_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train-999", "train-1000", "train-mine", "train"):
        Path("runs", name).mkdir(parents=True)
    assert run_folder("train", resume=True) == Path("runs/train-1000")
    assert claim_folder("train") == Path("runs/train-1001")


def test_a_folder_of_runs_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").symlink_to(tmp_path / "gone")
    with pytest.raises(FileExistsError, match="runs"):
        claim_folder("train")


def test_a_link_to_itself_is_one_unreadable_file(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "images", 4)
    (folder / "red" / "loop.png").symlink_to(folder / "red" / "loop.png")
    found = find_classes(folder)
    assert folder / "red" / "loop.png" in found.files
    loaded = load_images(found, found.classes, 32, "pad", skip_unreadable=True)
    assert list(loaded.unreadable) == [folder / "red" / "loop.png"]


def test_links_bring_no_image_twice_and_lead_into_no_circle(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "images", 4)
    (folder / "red" / "up").symlink_to(folder)
    (folder / "red" / "self").symlink_to(folder / "red")
    (folder / "green" / "link.png").symlink_to(folder / "green" / "0.png")
    (tmp_path / "elsewhere").mkdir()
    a_picture("green", 9).save(tmp_path / "elsewhere" / "9.png")
    (folder / "green" / "more").symlink_to(tmp_path / "elsewhere")
    files = find_classes(folder).files
    assert len(files) == 13
    assert len({file.resolve() for file in files}) == 13
    assert folder / "green" / "0.png" in files
    assert folder / "green" / "more" / "9.png" in files


@pytest.mark.parametrize("place", ["images", "images/red/run", "outdoors/run"])
def test_a_run_is_not_written_among_images(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    folder, outdoors = a_folder(tmp_path / "images", 4), a_folder(tmp_path / "outdoors", 1)
    before = sorted(tmp_path.rglob("*"))
    assert train(monkeypatch, folder, tmp_path / place, "--test", outdoors) == 2
    assert "among the images: pass another" in capsys.readouterr().err
    monkeypatch.chdir(folder)
    assert run(monkeypatch, "train", ".", "--model", "test_efficientnet") == 2
    assert "`output` (='runs/train-001') lies in '.'" in capsys.readouterr().err
    for shown in (("--method", "photographs", "--photographs", "."), ("--background", "adversarial=1,.=1")):
        assert run(monkeypatch, "train", outdoors, "--model", "test_efficientnet", *shown) == 2
        assert "`output` (='runs/train-001') lies in '.'" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "more",
    [
        ("--method", "photographs", "--photographs", "photos"),
        ("--background", "photos"),
        ("--background", "adversarial=1,photos=1"),
    ],
)
def test_a_broken_photograph_is_named_before_any_training(
    more: tuple[str, ...], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b"):
        a_picture("red").save(f"photos/{name}.png")
    Path("photos/b.png").write_bytes(Path("photos/b.png").read_bytes()[:60])
    assert train(monkeypatch, folder, "run", *more) == 2
    assert (
        "1 of 2 photographs cannot be read; --skip-unreadable goes on without: photos/b.png" in capsys.readouterr().err
    )
    assert not Path("run").exists()
    assert train(monkeypatch, folder, "run", *more, "--skip-unreadable") == 0
    assert results_of(Path("run"))["images"]["unreadable"] == ["photos/b.png"]
    Path("photos/a.png").write_bytes(b"")
    capsys.readouterr()
    assert train(monkeypatch, folder, "other", *more, "--skip-unreadable") == 2
    assert "2 of 2 photographs cannot be read: photos/a.png" in capsys.readouterr().err
    assert not Path("other").exists()


def test_a_size_that_does_not_suit_the_model_is_named_before_images_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("advbg.training.prepare.load_images", lambda *_, **__: pytest.fail("images were read"))
    assert train(monkeypatch, folder, tmp_path / "run", "--model", "test_vit", "--image-size", 33) == 2
    assert "`image_size` (=33) does not suit `model` (='test_vit')" in capsys.readouterr().err


def test_a_training_that_diverges_is_no_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert train(monkeypatch, folder, tmp_path / "run", "--method", "baseline", "--learning-rate", "1e30") == 2
    assert "with `learning_rate` (=1e+30): pass a smaller one" in capsys.readouterr().err
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_full_disk_is_one_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "history.json")

    monkeypatch.setattr("advbg.training.run.write_json", full)
    assert train(monkeypatch, folder, tmp_path / "run", "--method", "baseline") == 2
    assert "No space left on device: 'history.json'" in capsys.readouterr().err


def test_what_a_run_lacks_that_was_stopped_after_its_last_state_is_made_up_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(monkeypatch, folder, tmp_path / "run") == 0
    whole = {
        name: (tmp_path / "run" / name).read_bytes() for name in ("history.json", "figures/composites-epoch-03.png")
    }
    for name in whole:
        (tmp_path / "run" / name).unlink()
    assert train(monkeypatch, folder, tmp_path / "run", "--resume") == 0
    for name, content in whole.items():
        assert (tmp_path / "run" / name).read_bytes() == content, name


def test_names_in_brackets_are_shown_and_a_report_finds_its_pictures_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    a_folder(Path("images"), 4)
    a_folder(Path("out [red]"), 1, seed=40)
    (Path("out [red]") / "red" / "x.heic").write_text("")
    names = ("--test", "out [red]", "--method", "baseline", "--seed", 2**63 - 1)
    assert train(monkeypatch, Path("images"), "run [x]", *names) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "out [red]" in out
    assert "run [x]" in out
    assert "passed over: 1 .heic" in out
    os.chdir("run [x]")
    assert read_run(Path()).name == "baseline (run [x])"
    files = [failure["file"] for rated in results_of(Path())["sets"].values() for failure in rated["failures"]]
    assert files
    assert all(Path(file).is_file() for file in files)


def test_a_damaged_split_is_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert train(monkeypatch, folder, tmp_path / "run", "--method", "baseline") == 0
    (tmp_path / "run" / "split.json").write_text("{oops")
    assert train(monkeypatch, folder, tmp_path / "run", "--method", "baseline", "--resume") == 2
    assert f"{tmp_path / 'run' / 'split.json'} is damaged" in capsys.readouterr().err


def test_photographs_that_come_while_a_run_is_stopped_are_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "photographs").mkdir()
    a_picture("red", 1).save(tmp_path / "photographs" / "a.png")
    options = ("--method", "photographs", "--photographs", tmp_path / "photographs")
    assert train(monkeypatch, folder, tmp_path / "run", *options) == 0
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["photographs"] == [str(tmp_path / "photographs" / "a.png")]
    a_picture("red", 2).save(tmp_path / "photographs" / "b.png")
    assert train(monkeypatch, folder, tmp_path / "run", *options, "--resume") == 2
    assert "the photographs are other files than" in " ".join(capsys.readouterr().err.split())


def test_a_seed_too_large_for_torch_is_refused_by_name(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    assert train(monkeypatch, folder, tmp_path / "run", "--seed", 2**63) == 2
    assert "must be less than 2**63" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", [1, 2])
def test_one_seed_of_a_demonstration_has_no_deviation(seeds: int) -> None:
    summary = {"clean": [90.0, 1.0], "changed": [80.0, 2.0], "ratio": [0.89, 0.1], "seconds": 5.0}
    measured = {str(seed): {"baseline": {}, "proposal": {}} for seed in range(seeds)}
    results = {"summary": {"proposal": summary}, "seeds": measured, "settings": {"methods": ["proposal"]}}
    (row,) = table_rows(results)
    assert ("±" in row[1]) == (seeds > 1)


def test_the_browsers_names_for_jpeg_are_read(tmp_path: Path) -> None:
    folder = a_folder(tmp_path / "images", 2)
    a_picture("red", 7).save(folder / "red" / "saved.jpg")
    shutil.move(folder / "red" / "saved.jpg", folder / "red" / "saved.jfif")
    assert folder / "red" / "saved.jfif" in find_classes(folder).files


def test_a_log_goes_on_after_the_steps_of_the_state_whatever_the_history_says(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purged = []
    monkeypatch.setattr(
        "advbg.training.run.TensorBoardLogger",
        lambda log_dir, *, purge_step: purged.append(purge_step) or TensorBoardLogger(log_dir, purge_step=purge_step),
    )
    options = ("--method", "baseline", "--tensorboard")
    assert train(monkeypatch, folder, tmp_path / "run", *options) == 0
    (tmp_path / "run" / "history.json").unlink()
    assert train(monkeypatch, folder, tmp_path / "run", *options, "--resume") == 0
    # Three epochs of 24 images in batches of 6.
    assert purged == [1, 13]
    (tmp_path / "run" / "state.pt").write_bytes(b"damaged")
    assert steps_taken(tmp_path / "run" / "state.pt") == 0

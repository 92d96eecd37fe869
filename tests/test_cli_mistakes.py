"""What the commands say of mistakes, and that they leave the user's files alone."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.command_line import run
from tests.reproduced import make_run


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def a_mess(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that can be wrong with a user's files."""
    monkeypatch.chdir(tmp_path)
    checkpoint = (finished_run / "baseline" / "model.safetensors").read_bytes()
    Path("good.safetensors").write_bytes(checkpoint)
    Path("damaged.safetensors").write_bytes(checkpoint[:5000])
    Path("damaged.pt").write_bytes((finished_run / "proposal" / "companions.pt").read_bytes()[:500])
    for folder in ("empty", "broken", "fine"):
        Path(folder).mkdir()
    Path("broken/image.png").write_text("no image")
    Image.new("L", (40, 40)).save("fine/image.png")
    shutil.copytree(finished_run, "run")
    (Path("run") / "proposal" / "state.pt").write_bytes(b"not a state")
    Path("taken").mkdir()
    Path("taken.png").mkdir()
    Path("taken/thesis.txt").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("reproduce --dataset cifar", "cifar"),
        ("reproduce --colour red", "colour"),
        ("reproduce --methods baseline,magic", "`methods` (='baseline,magic')"),
        ("reproduce --methods baseline,baseline", "must be different"),
        ("reproduce --epochs 1,2", "`epochs` (='1,2')"),
        ("reproduce --epochs 1,2,-3", "`epochs`"),
        ("reproduce --epochs 0,0,0", "not all 0"),
        ("reproduce --epochs 1,0,1", "must leave 1 or more to the masks"),
        ("reproduce --train-size 0", "`train_size` (=0)"),
        ("reproduce --train-size 5000", "1347"),
        ("reproduce --seed -1", "`seed` (=-1)"),
        ("reproduce --output run", "--resume"),
        ("reproduce --output taken", "files that are not a run's"),
        ("reproduce --output good.safetensors", "is not a folder"),
        ("reproduce --output run --train-size 64 --epochs 1,1,1 --resume", "state.pt is damaged"),
        ("evaluate missing.safetensors --dataset digits --backgrounds fine", "does not exist"),
        ("evaluate damaged.safetensors --dataset digits --backgrounds fine", "damaged"),
        ("evaluate good.safetensors --dataset digits --backgrounds nowhere", "`backgrounds` (='nowhere') is not a dir"),
        ("evaluate good.safetensors --dataset digits --backgrounds empty", "has no images"),
        ("evaluate good.safetensors --dataset digits --backgrounds broken", "image.png cannot be read"),
        ("evaluate good.safetensors --dataset digits", "--backgrounds"),
        ("evaluate", "checkpoint"),
        ("preview fine --output out.jpg", "must end in .png"),
        ("preview fine --output nowhere/out.png", "does not exist"),
        ("preview fine --output out.png --fit stretch", "`fit` (='stretch') must be one of pad, crop"),
        (
            "preview fine --output out.png --fit crop --companions run/proposal/companions.pt",
            "is for squares in colour",
        ),
        ("preview fine --output taken.png --companions run/proposal/companions.pt", "taken.png"),
        ("preview fine --output out.png", "no trained companions"),
        ("preview fine --output out.png --companions damaged.pt", "damaged"),
        ("preview fine --output out.png --companions missing.pt", "does not exist"),
        ("preview fine --output out.png --companions good.safetensors", "not a state of companions"),
        ("preview broken --output out.png --companions run/proposal/companions.pt", "cannot be read"),
        ("paint", "paint"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_exit_code_2(
    command: str, message: str, a_mess: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path for path in a_mess.rglob("*") if "runs" not in path.parts)
    assert run(monkeypatch, *command.split()) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("advbg: ")
    assert message in lines[0]
    assert sorted(path for path in a_mess.rglob("*") if "runs" not in path.parts) == before

"""The folder of a run: a new one, or one that goes on."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from advbg.benchmark.files import read_json, write_json
from advbg.files import remove_leftovers


def open_folder(
    output: Path, settings: Mapping[str, Any], *, resume: bool, may_differ: Collection[str] = ()
) -> dict[str, Any]:
    """Check that a folder is new, or that the run in it has the same settings; nothing is written.

    Args:
        output: the folder.
        settings: of this run.
        resume: whether to go on with what is there.
        may_differ: names of settings that a run may change when it goes on.

    Returns:
        The settings as JSON keeps them, for `begin_folder`.

    Raises:
        FileExistsError: where `output` has files and `resume` is off, or is not a folder.
        ValueError: where the run in `output` had other settings, which the message names, or is damaged.
    """
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"`output` (={str(output)!r}) is not a folder")
    settings_file = output / "settings.json"
    ours = json.loads(json.dumps(settings))
    if settings_file.is_file():
        if not resume:
            raise FileExistsError(f"`output` (={str(output)!r}) holds a run already: pass --resume or another --output")
        theirs = read_json(settings_file)
        for name, value in ours.items():
            if name not in may_differ and theirs.get(name) != value:
                raise ValueError(f"the run in {str(output)!r} has `{name}` {theirs.get(name)!r}, not {value!r}")
    # A run that was killed at once leaves a hidden file, and systems leave their own.
    elif output.exists() and any(not entry.name.startswith(".") for entry in output.iterdir()):
        raise FileExistsError(f"`output` (={str(output)!r}) has files that are not a run's: choose another")
    return ours


def begin_folder(output: Path, settings: Mapping[str, Any]) -> None:
    """Make the folder and write the settings into it, without what a killed run had half written."""
    output.mkdir(parents=True, exist_ok=True)
    remove_leftovers(output)
    write_json(output / "settings.json", settings)


def measured_before(output: Path, name: str) -> dict[str, Any]:
    """What earlier sessions of a run have measured, which is not measured again.

    Args:
        output: folder of the run.
        name: what its `results.json` keeps them under.

    Returns:
        Nothing where there is no such file.

    Raises:
        ValueError: where the file is damaged.
    """
    results_file = output / "results.json"
    return read_json(results_file, name)[name] if results_file.is_file() else {}

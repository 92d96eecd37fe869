"""The rows of the tables: ways to train the same classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from advbg.backgrounds import Photographs
from advbg.masks import PaperObjective

# Rows without companions: the plain classifier, and the AG-CNN that the paper compares with.
PLAIN_METHODS = ("baseline", "attention")
PHOTOGRAPHS = "photographs"

# Options of `AdversarialBackground`; the paper's names of rows stand first.
_OPTIONS: dict[str, dict[str, Any]] = {
    "black": {"background": "black"},
    "noise": {"background": "noise"},
    "random": {"background": "random"},
    "paper": {
        "background": "paper",
        "mask_generator": "paper",
        "mask_objective": PaperObjective(),
        "clean_share": 0.0,
        "halo": 0.0,
    },
    "proposal": {},
    PHOTOGRAPHS: {},
}
METHODS = (*PLAIN_METHODS, *_OPTIONS)


def check_methods(names: Sequence[str]) -> None:
    """Check the names of methods.

    Args:
        names: at least one, without repetition.

    Raises:
        ValueError: where a name is unknown or stands twice, or there is none.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(f"`methods` (={','.join(names)!r}) must be different ones of {', '.join(METHODS)}")


def companion_options(method: str, photographs: Path | None) -> dict[str, Any] | None:
    """What a method says to `AdversarialBackground`; None where it trains without companions.

    Args:
        method: one of `METHODS`.
        photographs: folder of the row `photographs`.
    """
    if method in PLAIN_METHODS:
        return None
    if method == PHOTOGRAPHS:
        if photographs is None:
            raise ValueError("the method `photographs` needs a folder of photographs")
        return {"background": Photographs(photographs, keep_in_memory=True)}
    return _OPTIONS[method]


def mask_recipe(method: str) -> str:
    """Name what decides a method's masks; methods of one recipe share their first two phases."""
    return "paper" if method == "paper" else "default"

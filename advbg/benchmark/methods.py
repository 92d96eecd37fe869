"""The rows of the tables: ways to train the same classifier."""

from typing import Any

from advbg.masks import PaperObjective

# Options of `AdversarialBackground`; None is training without it.
METHODS: dict[str, dict[str, Any] | None] = {
    "baseline": None,
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
}


def check_methods(names: list[str]) -> None:
    """Check the names of methods.

    Args:
        names: at least one, without repetition.

    Raises:
        ValueError: where a name is unknown or stands twice, or there is none.
    """
    unknown = [name for name in names if name not in METHODS]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(f"`methods` (={','.join(names)!r}) must be different ones of {', '.join(METHODS)}")

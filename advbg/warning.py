"""Warnings that name a line of the user's own script, however deep in this package something was noticed."""

import sys
import warnings

# What a call passes through between a user's line and ours.
_INSIDE = ("advbg", "torch", "pluggy")


def warn(message: str) -> None:
    """Give a `UserWarning` of the innermost line outside of this package, of torch and of pluggy.

    Args:
        message: what is wrong, and what to do.
    """
    frame, level = sys._getframe(), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in _INSIDE:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)

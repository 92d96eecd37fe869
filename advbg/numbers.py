"""What counts as a number among arguments."""

from typing import SupportsFloat, TypeGuard


def is_number(value: object) -> TypeGuard[SupportsFloat]:
    """Whether a value can be compared as a number: Python's, NumPy's and torch's, but no text."""
    return isinstance(value, SupportsFloat) and not isinstance(value, str)

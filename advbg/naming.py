"""How messages name many things."""

from collections.abc import Sequence

_AT_MOST = 5


def name_some(names: Sequence[str], separator: str = ", ") -> str:
    """The first five names, and how many more there are.

    Args:
        names: any number of them.
        separator: between two of them.
    """
    more = f" and {len(names) - _AT_MOST} more" if len(names) > _AT_MOST else ""
    return f"{separator.join(names[:_AT_MOST])}{more}"

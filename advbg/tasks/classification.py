"""Classification: the default task."""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from advbg.hooks import hookimpl
from advbg.masks.objectives import output_distance


class Classification:
    """Targets say nothing about where the object is, and stay as they are; outputs are compared as a whole."""

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return ("classification",)

    @hookimpl(trylast=True)
    def advbg_distance(self, outputs: Any, expected: Any, other: Any, batch_size: int) -> Float[Tensor, ""]:
        """The measure of every task whose plugin has none of its own."""
        return output_distance(outputs, expected, other, batch_size)

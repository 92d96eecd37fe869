"""The backgrounds that demonstrations test before: none of them is trained on."""

from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds.patterns import PATTERNS
from advbg.benchmark.datasets import ImageDataset
from advbg.benchmark.held_out import OBJECTS, make_held_out


def unseen_backgrounds(dataset: ImageDataset) -> dict[str, Float[Tensor, "height width"]]:
    """The paper's six, and the thirty made ones that nothing is chosen by.

    Args:
        dataset: whose training images are pasted around in some of them.
    """
    size = dataset.test_images.shape[-1]
    paper = {name: draw(size) for name, draw in PATTERNS.items()}
    return paper | make_held_out(dataset.train_images[:OBJECTS]).report

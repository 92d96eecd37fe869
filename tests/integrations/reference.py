"""What the three pipelines shall make, computed by numpy in float64."""

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

REAL_BACKGROUNDS = Path(__file__).parents[2].parent / "shared" / "data" / "real_backgrounds"


def assert_composited(changed: ArrayLike, image: ArrayLike, weight: ArrayLike, background: ArrayLike) -> None:
    """Compare with x m + b (1 - m), all of shapes that broadcast; integers may be off by their rounding."""
    changed, image, background = np.asarray(changed), np.asarray(image), np.asarray(background)
    weight = np.asarray(weight, dtype=np.float64)
    expected = image.astype(np.float64) * weight + background.astype(np.float64) * (1 - weight)
    assert (changed.shape, changed.dtype) == (image.shape, image.dtype)
    np.testing.assert_allclose(changed, expected, rtol=0, atol=0.5001 if changed.dtype == np.uint8 else 1e-6)
    inside = np.broadcast_to(weight == 1, image.shape)
    np.testing.assert_array_equal(changed[inside], image[inside])

"""What an agent sees of the game: in training, and before changed scenes."""

from pathlib import Path

from advbg.benchmark.demonstrations.playing import changed_scenes, watch
from advbg.benchmark.figures import labelled_rows, save_figure
from advbg.companions import Companions
from advbg.preview import preview

_SCENES = ("stripes", "board", "circles", "photograph-1", "text-1", "gradient-1", "moire-1", "blobs-1")


def draw_observations(companions: Companions, path: Path) -> None:
    """Draw pictures of the game over their masks, composites, and the same pictures before changed scenes.

    Args:
        companions: of the wrapper that has trained an agent.
        path: of the PNG.
    """
    scenes = changed_scenes()
    trained = preview(companions, watch([None] * len(_SCENES), seed=0))
    changed = watch([scenes[name] for name in _SCENES], seed=0)
    rows = [
        ("simulator", trained.images),
        ("learned mask", trained.binarized),
        ("trained on", trained.composites),
        ("tested on", changed),
    ]
    save_figure(labelled_rows(rows), path)

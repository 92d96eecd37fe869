"""The demonstrations by name."""

from pathlib import Path

from advbg.benchmark.demonstrations.protocol import Demonstration

TASKS = ("segmentation", "regression", "reinforcement")

# Epochs of the classifier, mask and adversarial phase; label maps need no mask phase.
_EPOCHS = {"segmentation": (2, 0, 6), "regression": (3, 2, 7)}
_BATCH_SIZE = 64


def make_demonstration(
    task: str,
    *,
    dataset: str,
    data_dir: Path,
    train_size: int | None,
    epochs: tuple[int, int, int] | None,
    batch_size: int | None,
    bfloat16: bool,
) -> Demonstration:
    """Make a demonstration; what is only for segmentation and regression is passed over by others.

    Args:
        task: one of `TASKS`.
        dataset: `digits`, `mnist` or `fashion-mnist`.
        data_dir: where torchvision keeps its data sets.
        train_size: training images, or None for all of them.
        epochs: of the classifier, mask and adversarial phase, or None for the task's own.
        batch_size: images in a step, or None for 64.
        bfloat16: whether to train under autocast to bfloat16.

    Raises:
        ImportError: where a package of the extra `demonstrations` is missing.
        ValueError: where the task is unknown, or another argument is out of range.
    """
    if task == "reinforcement":
        from advbg.benchmark.demonstrations.reinforcement import Reinforcement

        return Reinforcement()
    if task not in TASKS:
        raise ValueError(f"`task` (={task!r}) must be one of {', '.join(TASKS)}")
    from advbg.benchmark.datasets import load_dataset
    from advbg.benchmark.demonstrations.regression import Regression
    from advbg.benchmark.demonstrations.segmentation import Segmentation
    from advbg.benchmark.demonstrations.supervised import Recipe
    from advbg.benchmark.held_out import OBJECTS

    recipe = Recipe(epochs or _EPOCHS[task], _BATCH_SIZE if batch_size is None else batch_size, bfloat16)
    images = load_dataset(dataset, data_dir=data_dir, train_size=train_size, seed=0)
    if len(images.train_images) < OBJECTS:
        raise ValueError(
            f"`train_size` (={train_size}) must be {OBJECTS} or more: some backgrounds are made of training images"
        )
    return (Segmentation if task == "segmentation" else Regression)(images, recipe)

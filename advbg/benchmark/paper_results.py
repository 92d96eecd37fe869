"""The paper's own figures: accuracy in percent (tables I and II)."""

COLUMNS = ("original", "stripes", "board", "border", "circles", "clock", "random")


def _row(*values: float) -> dict[str, float]:
    return dict(zip(COLUMNS, values, strict=True))


PAPER_RESULTS = {
    "mnist": {
        "baseline": _row(97.3, 38.0, 24.3, 61.4, 32.9, 19.7, 11.2),
        "attention": _row(93.4, 28.1, 26.8, 57.3, 40.1, 29.3, 25.1),
        "proposal": _row(94.9, 92.3, 76.8, 93.1, 93.7, 70.8, 86.2),
    },
    "fashion-mnist": {
        "baseline": _row(90.1, 21.3, 24.6, 36.9, 28.5, 29.6, 16.8),
        "attention": _row(81.2, 18.2, 20.1, 51.8, 26.0, 31.8, 36.2),
        "proposal": _row(70.7, 62.9, 61.5, 66.5, 60.9, 60.8, 45.9),
    },
}

# Insulators before a drone's camera, trained in the laboratory (the paper's case study).
PAPER_INSULATORS = {
    "baseline": 71.9,
    "attention": 45.8,
    "black": 76.3,
    "noise": 59.6,
    "proposal": 88.7,
    "real backgrounds": 93.8,
}


def paper_dataset(dataset: str) -> str:
    """The data set of the paper to compare with: its own, and MNIST for the bundled digits."""
    return "mnist" if dataset == "digits" else dataset


def paper_results(dataset: str) -> dict[str, dict[str, float]]:
    """The paper's rows to set beside ours.

    Args:
        dataset: `digits`, `mnist` or `fashion-mnist`.

    Returns:
        Accuracy in percent by method and column.
    """
    return PAPER_RESULTS[paper_dataset(dataset)]

"""The table of differences between rows on the page of the case studies."""

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from advbg.benchmark.case_study.pages import difference_rows

_ROWS = ("baseline", "random", "proposal", "photographs", "hardest of both")


def _results(seeds: list[dict[str, float]]) -> dict[str, Any]:
    return {
        "images": {"training": 5, "held-out": 3, "webcam": 4},
        "seeds": {
            str(seed): {row: {"accuracy": {"held-out": 50.0, "webcam": value}} for row, value in rows.items()}
            for seed, rows in enumerate(seeds)
        },
    }


@given(
    seeds=st.lists(st.dictionaries(st.sampled_from(_ROWS), st.floats(0, 100), min_size=1), min_size=1, max_size=6),
)
def test_differences_are_of_the_seeds_that_both_rows_have(seeds: list[dict[str, float]]) -> None:
    head, rows = difference_rows(_results(seeds))
    assert head == ("difference", "held-out", "webcam", "seeds")
    expected = []
    for row, other in (("proposal", "baseline"), ("proposal", "random"), ("hardest of both", "photographs")):
        gains = np.array([seed[row] - seed[other] for seed in seeds if {row, other} <= set(seed)])
        if len(gains) > 1:
            error = gains.std(ddof=1) / np.sqrt(len(gains))
            expected.append((f"{row} minus {other}", gains.mean(), error, len(gains)))
    assert [(row[0], int(row[-1])) for row in rows] == [(name, number) for name, _, _, number in expected]
    for row, (_, mean, error, _) in zip(rows, expected, strict=True):
        assert row[1] == "+0.0 ± 0.0"
        shown = [float(number) for number in row[2].split(" ± ")]
        assert np.allclose(shown, [mean, error], atol=0.051)

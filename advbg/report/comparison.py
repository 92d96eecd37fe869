"""What stands in the way of comparing runs, said beside their figures."""

from typing import Any

from advbg.report.runs import FinishedRun
from advbg.training.sets import HELD_OUT


def remarks(runs: list[FinishedRun]) -> list[str]:
    """Sentences about images that the first run and others do not share.

    Args:
        runs: the first is reported on, the others are compared with it.
    """
    first, said = runs[0], []
    held_out = set(first.split["held_out"])
    for other in runs[1:]:
        if set(other.split["held_out"]) != held_out:
            seen = len(held_out & set(other.split["training"]))
            said.append(
                f"{other.name} holds out other images than {first.name}, and was trained on {seen} of the "
                f"{len(held_out)} that {first.name} holds out: their rows of held-out images do not compare."
            )
        # In the order of the page; patterns stand behind what is held out.
        tests = [name for name in first.results["sets"] if not name.startswith(HELD_OUT)]
        for name in filter(other.results["sets"].__contains__, tests):
            ours, theirs = (run.results["sets"][name]["n"] for run in (first, other))
            if ours != theirs:
                said.append(f"{name} has {ours} images in {first.name} and {theirs} in {other.name}.")
    return said


def differences(runs: list[FinishedRun]) -> list[dict[str, Any]]:
    """Settings in which runs differ, each with its value in every run; one that an older run does not know is empty.

    Args:
        runs: at least one.
    """
    names = dict.fromkeys(name for run in runs for name in run.results["settings"])
    rows = [{"name": name, "values": [run.results["settings"].get(name, "") for run in runs]} for name in names]
    return [row for row in rows if any(value != row["values"][0] for value in row["values"])]

"""What the method costs, as tables."""

from collections.abc import Sequence
from typing import Any

import torch

from advbg.benchmark.tables import markdown_table_of

COST_HEADER = ("step", "ms", "times plain", "quartiles", "peak MiB", "times plain")


def cost_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The rows of a table of what `measure_cost` returned."""
    rows = []
    for name, step in results["steps"].items():
        ratio, memory = step["ratio"], step["memory_mib"]
        cells = (f"{memory:.0f}", f"{step['memory_ratio']:.2f}") if memory is not None else ("", "")
        times = (f"{ratio['median']:.2f}", f"{ratio['low']:.2f} - {ratio['high']:.2f}")
        rows.append((name, f"{step['milliseconds']['median']:.0f}", *times, *cells))
    return rows


def cost_page(measured: Sequence[dict[str, Any]]) -> str:
    """Write the page of what was measured.

    Args:
        measured: what `measure_cost` returned, for each model.
    """
    sections = [
        "# What it costs",
        "Measured by `advbg bench`, all kinds of steps in turns in one run. A ratio is that of a step to the plain "
        "step of the same round: the median and the quartiles over the rounds. Memory is the peak beyond what the "
        "process had before, on a CPU in a process of its own. `two passes` makes the max step in a pass of its own, "
        "as the authors' code does; `RandConv with consistency` shows the model three views of each image; `offline "
        "cut and paste` needs masks and backgrounds made beforehand.",
    ]
    for results in measured:
        settings, machine = results["settings"], results["machine"]
        precision = "bfloat16" if settings["bfloat16"] else "float32"
        on_gpu = torch.device(settings["device"]).type == "cuda"
        where = machine.get("gpu", "a GPU") if on_gpu else f"{machine['processor']}, {machine['threads']} threads"
        command = f"--model {settings['model']} --image-size {settings['image_size']}"
        command += (
            f" --batch-size {settings['batch_size']} --device {settings['device']} --repeats {settings['repeats']}"
        )
        command += " --precision bfloat16" if settings["bfloat16"] else ""
        command += " --channels-last" if settings["channels_last"] else ""
        sections += [
            f"## {settings['model']}, {settings['image_size']} px, batches of {settings['batch_size']}",
            f"`advbg bench {command}`: {precision}, {where}, torch {results['versions']['torch']}.",
            markdown_table_of(COST_HEADER, cost_rows(results)),
            f"A whole training with the default `Schedule.fractions`: **{results['schedule']:.2f}** times plain.",
        ]
    return "\n\n".join(sections)

"""The table of a demonstration, as Markdown and for a terminal."""

from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from advbg.benchmark.demonstrations.protocol import finished_seeds

_HEADER = ("row", "own background", "other backgrounds", "other / own", "seconds")


def table_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """The cells of the table, with standard deviations over seeds.

    Args:
        results: what `results.json` holds, with its summary.
    """
    several = len(finished_seeds(results)) > 1
    rows = []
    for method, summary in results["summary"].items():
        measured = (summary[name] for name in ("clean", "changed", "ratio"))
        cells = (f"{mean:.2f} ± {deviation:.2f}" if several else f"{mean:.2f}" for mean, deviation in measured)
        rows.append((method, *cells, f"{summary['seconds']:.0f}"))
    return rows


def markdown_table(results: dict[str, Any]) -> str:
    """The table as Markdown, under its caption."""
    alignment = "| --- |" + " ---: |" * (len(_HEADER) - 1)
    lines = [f"| {' | '.join(cells)} |" for cells in (_HEADER, *table_rows(results))]
    return "\n".join([caption(results), "", lines[0], alignment, *lines[1:]]) + "\n"


def rich_table(results: dict[str, Any]) -> Table:
    """The table for a terminal."""
    table = Table(title=caption(results), box=SIMPLE, padding=(0, 1, 0, 0))
    for index, name in enumerate(_HEADER):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in table_rows(results):
        table.add_row(*row)
    return table


def caption(results: dict[str, Any]) -> str:
    """What the table measures, on what, over how many seeds."""
    seeds = len(finished_seeds(results))
    dataset = results["settings"].get("dataset")
    return (
        f"{results['task'].capitalize()}{f' on {dataset}' if dataset else ''}: {results['measure']}, "
        f"{'higher' if results['higher_is_better'] else 'lower'} is better; "
        f"{f'mean ± standard deviation of {seeds} seeds' if seeds > 1 else 'one seed'}"
    )

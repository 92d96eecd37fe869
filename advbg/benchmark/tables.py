"""Results as tables, beside the paper's."""

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from advbg.benchmark.paper_results import COLUMNS, paper_dataset

_HEADER = ("", *COLUMNS, "mean of six", "seconds")


def mean_of_six(accuracy: dict[str, float]) -> float:
    """The mean over the six changed backgrounds, in percent."""
    return sum(accuracy[column] for column in COLUMNS[1:]) / len(COLUMNS[1:])


def markdown_table(results: dict[str, Any]) -> str:
    """Write `results.json` as Markdown: our rows, then the paper's.

    Args:
        results: what `results.json` holds.
    """
    lines = [
        f"# {results['dataset']}, seed {results['seed']}, {results['train_size']} training images",
        "",
        f"Accuracy in percent; the paper's rows are its own on {paper_dataset(results['dataset'])}.",
        "",
        markdown_line(_HEADER),
        markdown_line(("---",) + ("---:",) * (len(_HEADER) - 1)),
        *(markdown_line(row) for row in (*_our_rows(results), *_paper_rows(results))),
        "",
    ]
    return "\n".join(lines)


def rich_table(results: dict[str, Any]) -> Table:
    """Lay `results.json` out for a terminal: our rows, then the paper's.

    Args:
        results: what `results.json` holds.
    """
    title = f"accuracy (%) on {results['dataset']}, beside the paper's on {paper_dataset(results['dataset'])}"
    # Narrow enough for 80 columns.
    table = Table(title=title, title_style="bold", box=SIMPLE, padding=0)
    for index, name in enumerate(("", *COLUMNS, "mean", "sec.")):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in _our_rows(results):
        table.add_row(*row)
    table.add_section()
    for row in _paper_rows(results):
        table.add_row(*row, style="dim")
    return table


def _our_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, *_cells(method["accuracy"]), f"{method['seconds']:.0f}") for name, method in results["methods"].items()
    ]


def _paper_rows(results: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(f"paper {name}", *_cells(accuracy), "") for name, accuracy in results["paper"].items()]


def _cells(accuracy: dict[str, float]) -> tuple[str, ...]:
    return (*(f"{accuracy[column]:.1f}" for column in COLUMNS), f"{mean_of_six(accuracy):.1f}")


def markdown_line(cells: Sequence[str]) -> str:
    """Write one row of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def markdown_table_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table, all columns but the first aligned to the right."""
    rule = ("---",) + ("---:",) * (len(head) - 1)
    return "\n".join(markdown_line(cells) for cells in (head, rule, *rows))

"""Results as tables, beside the paper's."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from advbg.benchmark.paper_results import COLUMNS, PAPER_RESULTS, paper_results
from advbg.benchmark.tables import markdown_table, mean_of_six, rich_table

FACTS = Path(__file__).parents[2].parent / "shared" / "PAPER.md"
percents = st.floats(0, 100).map(lambda value: round(value, 3))
accuracies = st.fixed_dictionaries(dict.fromkeys(COLUMNS, percents))


def results(dataset="digits", **accuracy_of_methods):
    methods = {
        name: {"accuracy": accuracy, "seconds": 61.4, "checkpoint": f"{name}.safetensors"}
        for name, accuracy in accuracy_of_methods.items()
    }
    return {"dataset": dataset, "seed": 3, "train_size": 500, "methods": methods, "paper": paper_results(dataset)}


def markdown_cells(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def printed(table, width=80):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def test_the_rows_are_ours_and_then_the_papers():
    same = dict.fromkeys(COLUMNS, 50.0)
    names = [row[0] for row in markdown_cells(markdown_table(results(proposal=same, baseline=same)))[2:]]
    assert names == ["proposal", "baseline", "paper baseline", "paper attention", "paper proposal"]


def test_the_columns_are_the_papers_then_the_mean_and_the_seconds():
    header = markdown_cells(markdown_table(results()))[0]
    assert header == ["", *COLUMNS, "mean of six", "seconds"]


@given(accuracies)
def test_every_accuracy_has_one_decimal_and_the_mean_leaves_out_the_original(accuracy):
    row = markdown_cells(markdown_table(results(proposal=accuracy)))[2]
    expected = [accuracy[column] for column in COLUMNS]
    expected.append(sum(expected[1:]) / 6)
    assert row == ["proposal", *(f"{value:.1f}" for value in expected), "61"]


@pytest.mark.parametrize(("dataset", "source"), [("digits", "mnist"), ("fashion-mnist", "fashion-mnist")])
def test_both_tables_say_which_data_set_the_papers_rows_are_of(dataset, source):
    assert f"the paper's rows are its own on {source}." in markdown_table(results(dataset))
    assert f"the paper's on {source}" in printed(rich_table(results(dataset)))


def test_the_markdown_says_what_was_run():
    assert markdown_table(results("mnist")).startswith("# mnist, seed 3, 500 training images\n")


def test_the_markdown_has_as_many_cells_in_every_row_and_ends_with_a_line_break():
    text = markdown_table(results(baseline=dict.fromkeys(COLUMNS, 1.0)))
    assert {len(row) for row in markdown_cells(text)} == {10}
    assert text.endswith("|\n")


@given(accuracies)
def test_the_terminal_has_the_same_cells_as_the_markdown(accuracy):
    both = results(baseline=accuracy)
    lines = [line.split() for line in printed(rich_table(both)).splitlines()]
    for row in markdown_cells(markdown_table(both))[2:]:
        assert " ".join(row).split() in lines


def test_the_terminal_table_fits_into_80_columns_at_its_widest():
    text = printed(rich_table(results(**dict.fromkeys(("attention", "proposal"), dict.fromkeys(COLUMNS, 100.0)))))
    assert "…" not in text
    assert re.search(r"attention( 100\.0| +100\.0){8}", text)


def test_the_mean_of_six_is_that_of_the_changed_backgrounds():
    assert mean_of_six(PAPER_RESULTS["fashion-mnist"]["proposal"]) == pytest.approx(59.75)


def test_digits_stand_beside_the_papers_mnist():
    assert paper_results("digits") == paper_results("mnist") != paper_results("fashion-mnist")


def test_the_papers_rows_add_up_to_what_they_do_by_hand():
    sums = {dataset: [round(sum(row.values()), 1) for row in rows.values()] for dataset, rows in PAPER_RESULTS.items()}
    assert sums == {"mnist": [284.8, 300.1, 607.8], "fashion-mnist": [247.8, 265.3, 429.2]}


@pytest.mark.skipif(not FACTS.is_file(), reason=f"{FACTS} is not there")
@pytest.mark.parametrize("dataset", ["mnist", "fashion-mnist"])
def test_the_papers_rows_are_copied_without_a_mistake(dataset):
    section = re.split(r"\n\n", FACTS.read_text()[FACTS.read_text().lower().index(f"| {dataset} |") :])[0]
    header, _, *rows = markdown_cells(section)
    assert header[1:] == list(COLUMNS)
    assert {name: dict(zip(COLUMNS, map(float, values), strict=True)) for name, *values in rows} == paper_results(
        dataset
    )

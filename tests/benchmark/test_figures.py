"""Figures of a run."""

import logging
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib import colors
from matplotlib.figure import Figure
from PIL import Image

from advbg.benchmark import figures
from advbg.benchmark.methods import METHODS
from advbg.benchmark.paper_results import COLUMNS, paper_results


def results(*methods, dataset="digits"):
    rows = {
        name: {"accuracy": {column: 50.0 + 5 * index + place for place, column in enumerate(COLUMNS)}, "seconds": 1.0}
        for index, name in enumerate(methods)
    }
    return {"dataset": dataset, "methods": rows, "paper": paper_results(dataset)}


def drawn_bars(*methods, dataset="digits"):
    axes = Figure().add_subplot()
    figures.draw_accuracy_bars(axes, results(*methods, dataset=dataset))
    return axes


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def pictures(figure):
    """The pictures of a figure from top to bottom."""
    return [axes.get_images()[0].get_array() for axes in figure.get_axes() if axes.get_images()]


def framed(picture, count, size):
    """The images of a row, cut out of the frames around them."""
    return [picture[1:-1, 1 + index * (size + 1) : (index + 1) * (size + 1)] for index in range(count)]


def random_images(count, channels, size=8, seed=0):
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved while the test runs."""
    saved = []
    save = Figure.savefig

    def savefig(figure, *args, **options):
        saved.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


def test_each_method_has_a_bar_of_its_accuracy_in_each_column():
    axes = drawn_bars("baseline", "random", "proposal")
    heights = {container.get_label(): [bar.get_height() for bar in container] for container in axes.containers}
    expected = results("baseline", "random", "proposal")["methods"]
    assert heights == {name: list(method["accuracy"].values()) for name, method in expected.items()}


def test_the_bars_of_a_column_stand_side_by_side_around_its_name():
    axes = drawn_bars(*METHODS)
    for column in range(len(COLUMNS)):
        bars = [container[column] for container in axes.containers]
        for left, right in pairwise(bars):
            assert left.get_x() + left.get_width() < right.get_x()
        middle = (bars[0].get_x() + bars[-1].get_x() + bars[-1].get_width()) / 2
        assert middle == pytest.approx(axes.get_xticks()[column])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(COLUMNS)


def test_a_method_has_the_same_colour_in_every_figure():
    both, alone = drawn_bars(*METHODS), drawn_bars("proposal")
    colours = {container.get_label(): container[0].get_facecolor() for container in both.containers}
    assert colours["proposal"] == alone.containers[0][0].get_facecolor()
    assert len({colors.to_hex(colour) for colour in colours.values()}) == len(METHODS)


def test_methods_without_a_colour_of_their_own_can_be_told_apart():
    bars = [container[0].get_facecolor() for container in drawn_bars("mine", "yours").containers]
    assert bars[0] != bars[1]


@pytest.mark.parametrize("dataset", ["digits", "fashion-mnist"])
def test_the_papers_values_are_ticks_across_the_bars_of_the_proposal(dataset):
    axes = drawn_bars("baseline", "proposal", dataset=dataset)
    ticks = axes.get_lines()[: len(COLUMNS)]
    paper = paper_results(dataset)["proposal"]
    for tick, column, bar in zip(ticks, COLUMNS, axes.containers[1], strict=True):
        assert list(tick.get_ydata()) == [paper[column]] * 2
        left, right = np.asarray(tick.get_xdata())
        assert left < bar.get_x() < bar.get_x() + bar.get_width() < right


def test_the_legend_names_every_method_and_the_data_set_of_the_papers_values_once():
    assert sorted(legend(drawn_bars("baseline", "proposal"))) == [
        "baseline",
        "proposal",
        "the paper's proposal (mnist)",
    ]


def test_chance_is_a_named_line_at_ten_percent_of_the_whole_scale():
    axes = drawn_bars("baseline")
    assert list(axes.get_lines()[-1].get_ydata()) == [10, 10]
    assert [text.get_text() for text in axes.texts] == ["chance"]
    assert axes.get_ylim() == (0, 100)


def test_accuracy_bars_fill_their_file_with_the_methods_colours(tmp_path):
    figures.accuracy_bars(results("baseline", "proposal"), tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as file:
        assert file.width > 1000
        pixels = np.asarray(file.convert("RGB"))
    assert (pixels[0] == 255).all()
    for container in drawn_bars("baseline", "proposal").containers:
        colour = np.round(255 * np.array(container[0].get_facecolor()[:3]))
        assert (pixels == colour).all(axis=2).mean() > 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_composites_are_rows_of_images_over_masks_over_composites(saved, tmp_path, channels):
    images, composites = random_images(4, channels), random_images(4, channels, seed=1)
    masks = random_images(4, 1, seed=2)
    figures.composite_rows(images, masks, composites, tmp_path / "rows.png", binarized_masks=masks.round())
    axes = saved[0].get_axes()
    assert [one.get_ylabel() for one in axes] == ["image", "mask", "binarised", "composite"]
    for picture, row in zip(pictures(saved[0]), (images, masks, masks.round(), composites), strict=True):
        for shown, image in zip(framed(picture, 4, 8), row, strict=True):
            np.testing.assert_array_equal(shown, image.expand(3, -1, -1).permute(1, 2, 0).numpy())


def test_one_image_is_a_row_of_its_own(saved, tmp_path):
    image = random_images(1, 3)
    figures.composite_rows(image, image[:, :1], image, tmp_path / "rows.png", binarized_masks=image[:, :1].round())
    assert len(pictures(saved[0])) == 4


def test_backgrounds_over_training_are_a_row_for_each_moment(saved, tmp_path):
    snapshots = [(step, random_images(3, 1, seed=step)) for step in (0, 40, 1200)]
    figures.backgrounds_over_training(snapshots, tmp_path / "backgrounds.png")
    assert [axes.get_ylabel() for axes in saved[0].get_axes()] == ["step 0", "step 40", "step 1200"]
    for picture, (_, row) in zip(pictures(saved[0]), snapshots, strict=True):
        for shown, image in zip(framed(picture, 3, 8), row, strict=True):
            np.testing.assert_array_equal(shown[..., 0], image[0].numpy())


def test_a_white_image_is_told_from_the_page_by_its_frame(saved, tmp_path):
    figures.backgrounds_over_training([(0, torch.ones(2, 1, 8, 8))], tmp_path / "backgrounds.png")
    picture = pictures(saved[0])[0]
    for line in (picture[0], picture[-1], picture[:, 0], picture[:, -1], picture[:, 9]):
        assert (line < 0.9).all()


def test_a_rounding_error_outside_the_range_is_drawn_without_a_warning(saved, tmp_path, caplog):
    images = torch.cat([torch.full((1, 3, 8, 8), 1 + 1e-6), torch.full((1, 3, 8, 8), -1e-6)])
    with caplog.at_level(logging.WARNING):
        figures.backgrounds_over_training([(0, images)], tmp_path / "backgrounds.png")
    assert not caplog.records
    assert [framed(pictures(saved[0])[0], 2, 8)[index].mean() for index in range(2)] == [1, 0]


def test_the_overview_has_eight_images_their_composites_and_two_methods(saved, tmp_path):
    images, composites = random_images(10, 1), random_images(10, 1, seed=1)
    figures.overview(images, composites, results(*METHODS), tmp_path / "overview.png")
    left = pictures(saved[0])
    for picture, row in zip(left, (images, composites), strict=True):
        for index, image in enumerate(row[:8]):
            top, side = 1 + 9 * (index // 4), 1 + 9 * (index % 4)
            np.testing.assert_array_equal(picture[top : top + 8, side : side + 8, 0], image[0].numpy())
        assert picture.shape == (19, 37, 3)
    bars = saved[0].get_axes()[-1]
    assert [container.get_label() for container in bars.containers] == ["baseline", "proposal"]


def test_the_overview_of_other_methods_shows_all_of_them(saved, tmp_path):
    images = random_images(8, 1)
    figures.overview(images, images, results("black", "noise"), tmp_path / "overview.png")
    bars = saved[0].get_axes()[-1]
    assert [container.get_label() for container in bars.containers] == ["black", "noise"]


def test_a_figure_that_cannot_be_saved_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "bars.png"
    path.write_bytes(b"old")

    def savefig(figure, file, **options):
        file.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(Figure, "savefig", savefig)
    with pytest.raises(OSError, match="no space left"):
        figures.accuracy_bars(results("baseline"), path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]

"""The tables of case studies: in a terminal, and as a page of the documentation."""

import statistics
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from advbg.benchmark.case_study.figures import draw_columns, rows_of
from advbg.benchmark.case_study.results import RESULTS_PARTS, read_results, with_published
from advbg.benchmark.case_study.rows import OF_BOTH
from advbg.benchmark.case_study.running import EXAMPLES, CaseStudy
from advbg.benchmark.case_study.studies import MAY_BE_SHOWN
from advbg.benchmark.environment import machines
from advbg.benchmark.files import copy_file, read_json, write_json, write_text
from advbg.benchmark.methods import PHOTOGRAPHS
from advbg.benchmark.paper_results import PAPER_INSULATORS
from advbg.benchmark.summary import spread
from advbg.benchmark.tables import markdown_table_of
from advbg.training.settings import BASELINE, PROPOSAL
from advbg.training.tunings import GENTLE, ORDINARY, PLAIN

ACCURACY, RESULTS = "accuracy.png", "results.json"
# What is to be known of a study's images.
_REMARKS = {
    "office10": "Six of the 192 held-out images are, pixel for pixel, among those that are trained on, in every row.",
    "fruits": "Fruits were turned before the camera: those held out are other views of the fruits that are trained on.",
}
_TITLES = {"office10": "Office: product shots against desks", "fruits": "Fruits: studio against shops"}
_TUNINGS = {GENTLE: "tuned gently", PLAIN: "tuned plainly", ORDINARY: "in an ordinary script"}
# Settings in which a plain baseline may differ from the rows that it stands beside: it has no composites.
_TUNED = (
    *("tuning", "learning_rate", "classifier_share", "mask_share", "clean_share"),
    *("clutter", "distractors", "copies", "hold_statistics", "interpolation"),
)
# What a row brings beside another.
_COMPARED = ((PROPOSAL, BASELINE), (PROPOSAL, "random"), *((row, PHOTOGRAPHS) for row in OF_BOTH))
_INTRODUCTION = (
    "# Case studies\n\n"
    "Models that are trained on objects before a plain background, and tested elsewhere. Accuracy in percent, of "
    "the last epoch; mean ± standard deviation over seeds.\n\n"
    "- **Columns.** `held-out` are other images of the same studio; `new background` the same objects, cut out by a "
    "flood fill from the border and put before four photographs each that the row has not seen: the pure change of "
    "background. Then come other cameras' images of the same classes. `mask IoU` compares masks with those of the "
    "flood fill. They are learned without these, but in all rows but `paper` from a guess by the colour of the "
    "border, which before white is nearly the same: the guess alone has an IoU of 0.94 on `office10` and 0.98 on "
    "`fruits`.\n"
    "- **Rows.** `baseline` trains plainly, `attention` is AG-CNN; `black`, `noise` and `random` put objects before "
    "such backgrounds; `proposal` is ours, as by `advbg train`: it sees no photograph. `photographs` trains against a "
    "folder of them; `proposal + photographs` has half of each; `hardest proposal` and `hardest of both` train, of "
    "two such backgrounds for each image, before the one that the model answers worse (`candidates`), which takes "
    "more time. All of these also show objects smaller, elsewhere and in other light (`placement`, `lighting`), so "
    "`black` says what that alone does. Each row takes as many steps over the same images. `paper` has none of this; "
    "its masks are learned by the labels, with the paper's small learning rate and no more steps than the others': it "
    "needs longer trainings. Those of `fruits` and from random weights are older and were learned by the model's "
    "outputs for whole images; where both were measured, on `office10` tuned gently over the same three seeds, the "
    "means of a column differ by 0.6 at most.\n"
    "- **The first guess of masks** is taught in batches of 8 images. In an ordinary script, that is so of `proposal` "
    "with seeds 0 to 2, of `photographs` and `hardest of both` with seeds 0 to 11, and of `proposal` with copies, and "
    "of all rows from random weights in float32; all else was measured with batches of 32, which take three times as "
    "long. Where both were measured, no difference could be told: in the means of the columns it is +0.5 ± 0.7, "
    "-0.7 ± 0.7, -2.0 ± 1.2 and -0.9 ± 1.4 for "
    "`photographs` (twelve seeds; ± standard error), within 0.5 with copies, and -0.9, -0.4, +3.4 ± 4.3 and "
    "+1.5 ± 4.8 for `proposal` (three), whose masks have an IoU of 0.91 as before.\n"
    "- **Differences.** The second table of a study has the mean difference of two rows over the seeds that both have, "
    "± its standard error.\n"
    "- **Photographs.** Every third one of the folder, in alphabetical order, stands behind objects in the test. "
    "Rows that train against photographs leave a third of the folder out, neighbours in that order, and are tested "
    "before those alone, which are about a third of the images of `new background`; seeds take turns, so that in "
    "three of them each photograph is left out once, and `±` has differences between the thirds in it. Neighbours "
    "are often crops of one picture, as the twelve of each of the 27 pictures in `real_backgrounds`, and a row that "
    "trains with some of them knows the others.\n"
    "- **What was chosen by these columns.** How much to place, light, clutter and hold back by default, and how far "
    "gentle tuning goes back, was chosen in trials on these studies, with some of these seeds; so was the number of "
    "`candidates`, on `office10` with seeds 0 to 2. `random`, `black` and `noise` share most of it but were not "
    "searched as much, so small margins of `proposal` over them may be what such a choice gives.\n"
    "- **Tuning.** [Gentle tuning](../../train.md#gentle-tuning) is the default of pre-trained models, for every "
    "row; plain tuning is without it; an ordinary script also takes the first classifier as timm makes it, which "
    "for some models is so large that its gradient undoes what was learned before. Where statistics are held, "
    "BatchNorm keeps those of the pre-trained model (`--hold-statistics`), as with gentle tuning.\n"
    "- **Time.** The rows were trained on days of different speed: [what steps cost](../cost/index.md) was measured "
    "side by side.\n"
)


def table_rows(results: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and cells of the table: accuracy in each column, the masks' IoU, how many seeds.

    Args:
        results: what `results.json` holds.
    """
    names, seeds = list(results["images"])[1:], list(results["seeds"].values())
    rows = []
    for row in rows_of(results):
        measured = [seed[row] for seed in seeds if row in seed]
        cells = [spread(each["accuracy"][name] for each in measured) for name in names]
        masks = [each["mask"]["iou"] for each in measured if "mask" in each]
        rows.append((row, *cells, spread(masks, 2) if masks else "", str(len(measured))))
    return ("", *names, "mask IoU", "seeds"), rows


def difference_rows(results: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and cells of the table of differences, in percentage points: mean ± standard error over the same seeds.

    Args:
        results: what `results.json` holds.
    """
    names, rows = list(results["images"])[1:], []
    for row, other in _COMPARED:
        pairs = [(seed[row], seed[other]) for seed in results["seeds"].values() if row in seed and other in seed]
        if len(pairs) > 1:
            gains = [[ours["accuracy"][name] - theirs["accuracy"][name] for ours, theirs in pairs] for name in names]
            errors = [statistics.stdev(gain) / len(pairs) ** 0.5 for gain in gains]
            cells = [f"{statistics.mean(gain):+.1f} ± {error:.1f}" for gain, error in zip(gains, errors, strict=True)]
            rows.append((f"{row} minus {other}", *cells, str(len(pairs))))
    return ("difference", *names, "seeds"), rows


def rich_table(results: dict[str, Any]) -> Table:
    """The table for a terminal, with the seconds of this machine."""
    head, rows = table_rows(results)
    seeds = results["seeds"].values()
    table = Table(title=results["settings"]["study"], box=SIMPLE, padding=0)
    for index, name in enumerate((*head, "sec.")):
        # In a narrow terminal names are folded: cut short, "proposal" and "proposal + photographs" would be the same.
        table.add_column(
            name.replace(" ", "\n"), justify="right" if index else "left", overflow="fold", no_wrap=index > 0
        )
    for row in rows:
        seconds = statistics.mean(seed[row[0]]["seconds"] for seed in seeds if row[0] in seed)
        table.add_row(*row, f"{seconds:.0f}")
    return table


def publish(output: Path, case: CaseStudy, published: Path) -> None:
    """Keep a run's results, and its pictures where they may be shown, and write the page anew.

    Args:
        output: folder of the run.
        case: what was run.
        published: folder of the documentation's results.

    Raises:
        ValueError: where what is published there is damaged, or of other settings or data.
    """
    target = published / "case-studies" / case.name
    target.mkdir(parents=True, exist_ok=True)
    results = read_results(output / RESULTS, case.description())
    published_before = read_results(target / RESULTS, case.description())
    if results is not None:
        # Others may have added rows meanwhile.
        merged = with_published(results, published_before) if published_before is not None else results
        write_json(target / RESULTS, merged)
    if case.study.name in MAY_BE_SHOWN and (output / EXAMPLES).is_file():
        copy_file(output / EXAMPLES, target / EXAMPLES)
    write_page(published)


def write_page(published: Path) -> Path:
    """Write `case-studies/index.md`, and its figures, from the published results of all case studies.

    Args:
        published: folder of the documentation's results.

    Returns:
        The page.

    Raises:
        ValueError: where published results are damaged.
    """
    page = published / "case-studies" / "index.md"
    parts = [_INTRODUCTION]
    for file in sorted(page.parent.glob(f"*/{RESULTS}")):
        results = read_json(file, *RESULTS_PARTS)
        draw_columns(results, file.parent / ACCURACY)
        parts.append(_section(results, file.parent))
    head = ("paper: drone images", *PAPER_INSULATORS)
    values = ("accuracy", *(f"{value:.1f}" for value in PAPER_INSULATORS.values()))
    parts.append(
        "## The paper's insulators\n\nFour kinds of insulators, from a laboratory to a drone. The images are not "
        "public; `advbg case-study insulators` reads the authors' folders. Their figures, for reference:\n\n"
        f"{markdown_table_of(head, [values])}\n"
    )
    write_text(page, "\n".join(parts))
    return page


def _plain_baseline(results: dict[str, Any], folder: Path) -> list[tuple[str, ...]]:
    """The row of the baseline that is tuned plainly, to stand below those of the same images tuned gently."""
    file = folder.parent / f"{results['settings']['study']}-{PLAIN}" / RESULTS
    if results["settings"]["tuning"] != GENTLE or not file.is_file():
        return []
    plain = read_json(file, *RESULTS_PARTS)
    alike = results["settings"] | {name: plain["settings"].get(name) for name in _TUNED}
    if plain["images"] != results["images"] or plain["settings"] != alike:
        return []
    name = f"*{BASELINE}, {_TUNINGS[PLAIN]} at {plain['settings']['learning_rate']:g}*"
    return [(name, *cells) for row, *cells in table_rows(plain)[1] if row == BASELINE]


def _section(results: dict[str, Any], folder: Path) -> str:
    settings = results["settings"]
    head, rows = table_rows(results)
    rows += _plain_baseline(results, folder)
    measured = [(row, results) for seed in results["seeds"].values() for row in seed.values()]
    images = ", ".join(f"{count} {name}" for name, count in results["images"].items())
    begin = "random weights"
    if settings["weights"] or settings["pretrained"]:
        begin = f"ImageNet weights, {_TUNINGS[settings['tuning']]}"
    beside = ", statistics held" if settings["hold_statistics"] and settings["tuning"] != GENTLE else ""
    beside += ", with copies" if settings["copies"] else ""
    beside += "" if settings["precision"] == "float32" else f", in {settings['precision']}"
    parts = [
        f"## {_TITLES.get(settings['study'], settings['study'])}, from {begin}{beside}",
        f"`{settings['model']}` at {settings['image_size']} px, {settings['epochs']} epochs in batches of "
        f"{settings['batch_size']}, AdamW with one cycle up to {settings['learning_rate']:g}, "
        f"{settings['precision']}; after {settings['classifier_share']:.0%} of the steps, masks are learned in "
        f"{settings['mask_share']:.0%}; `clean_share` {settings['clean_share']:g}, composites with `placement` "
        f"{settings['placement']:g}, `lighting` {settings['lighting']:g} and `copies` {settings['copies']:g}, those of "
        f"`proposal` with `clutter` {settings['clutter']:g} and `distractors` {settings['distractors']:g}; "
        f"{len(results['classes'])} classes; images: {images}. Measured on {machines(measured)}. "
        f"{_REMARKS.get(settings['study'], '')}".rstrip(),
        markdown_table_of(head, rows),
        *([markdown_table_of(*differences)] if (differences := difference_rows(results))[1] else []),
        f"![Accuracy]({folder.name}/{ACCURACY})",
    ]
    if (folder / EXAMPLES).is_file():
        parts.append(
            "Held-out images, the mask generator's activations, Otsu's threshold of them, and composites:\n\n"
            f"![Images, masks, composites]({folder.name}/{EXAMPLES})"
        )
    return "\n\n".join(parts) + "\n"

"""Run a case study over seeds, and write down what was measured."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from advbg.benchmark.case_study.attention import AttentionAround, fit_attention
from advbg.benchmark.case_study.photographs import PARTS, check_photographs, left_out_of_training, note_photographs
from advbg.benchmark.case_study.results import read_results, with_published
from advbg.benchmark.case_study.rows import ATTENTION, OF_BOTH, OF_PHOTOGRAPHS, CaseRecipe
from advbg.benchmark.case_study.studies import Study
from advbg.benchmark.case_study.testing import Columns, column_sizes, columns_of, measure, rate_learned_masks
from advbg.benchmark.environment import environment, measured_in
from advbg.benchmark.figures import composite_rows
from advbg.benchmark.files import check_writable, write_json
from advbg.benchmark.progress import Report
from advbg.benchmark.run_folder import begin_folder, open_folder
from advbg.preview import preview
from advbg.training.data import TrainingData
from advbg.training.fit import Fitted, check_length, fit
from advbg.training.gentle import INTERPOLATION, check_classifier
from advbg.training.settings import BASELINE, PROPOSAL
from advbg.training.tunings import GENTLE

EXAMPLES = "examples.png"

_SHOWN_IMAGES = 10

# What is not the recipe's to choose, but decides what rows of other times can stand beside.
_RECIPE_OF_ALL_ROWS = ("classifier_share", "mask_share", "clean_share", "placement", "lighting", "hold_statistics")


@dataclass(frozen=True)
class CaseStudy:
    """A study, and how its rows are trained.

    Attributes:
        study: the data.
        recipe: of all rows.
        photographs: folder of photographs; those that a training is tested before, it does not see.
        device: to train on. A run may go on on another one: rows say what they were measured on.
    """

    study: Study
    recipe: CaseRecipe
    photographs: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def name(self) -> str:
        """The study's, how models are trained if not as they are by default, with what beside, and how precisely."""
        parts = [self.study.name]
        if self.recipe.from_scratch:
            parts.append("scratch")
        elif self.recipe.tuning != GENTLE:
            parts.append(self.recipe.tuning)
        if self.recipe.hold_statistics and self.recipe.tuning != GENTLE:
            parts.append("held")
        if self.recipe.copies:
            parts.append("copies")
        if self.recipe.precision != "float32":
            parts.append(self.recipe.precision)
        return "-".join(parts)

    def description(self) -> dict[str, Any]:
        """What `results.json` says beside what was measured: settings, classes and how many images."""
        return {
            "settings": self.settings(),
            "classes": list(self.study.classes),
            "images": {"training": len(self.study.training.pixels), **column_sizes(self.study)},
        }

    def settings(self) -> dict[str, Any]:
        """What a run that goes on must have the same."""
        weights = self.recipe.weights
        training = self.recipe.settings(BASELINE, 0, self.photographs)
        proposal = self.recipe.settings(PROPOSAL, 0, self.photographs).companion_options() or {}
        return {
            "study": self.study.name,
            **asdict(self.recipe),
            "weights": weights and Path(weights).name,
            "photographs": self.photographs.name,
            "photographs_in_parts": PARTS,
            **{name: getattr(training, name) for name in _RECIPE_OF_ALL_ROWS},
            "clutter": proposal["clutter"],
            "distractors": proposal["distractors"],
            "interpolation": INTERPOLATION if self.recipe.tuning == GENTLE else None,
        }


def open_case_study(
    output: Path, case: CaseStudy, rows: Sequence[str], *, resume: bool, published: Path | None = None
) -> None:
    """Make the folder of a new run, or check that of one that goes on, once it is known that every row can be trained.

    Args:
        output: the folder.
        case: what is to be run.
        rows: of `ROWS`.
        resume: whether to go on with what is there.
        published: folder with a `results.json` whose rows are not measured again, or without one; it is made where
            there is none.

    Raises:
        FileExistsError: where `output` has files and `resume` is off, or is not a folder.
        NotADirectoryError: where the photographs are in no folder.
        OSError: where `published` takes no files.
        ValueError: where a row cannot be trained or tested, photographs are too few, cannot be read or are others than
            when the run began, their folder has a comma where sources are mixed, or the run in `output` or in
            `published` had other settings, which the message names, or is damaged.
    """
    photographs = check_photographs(case.photographs, output)
    if set(rows) & set(OF_PHOTOGRAPHS):
        _before_unseen(columns_of(case.study, case.photographs), photographs)
    mixed = [row for row in OF_BOTH if row in rows]
    if mixed and "," in str(case.photographs):
        raise ValueError(
            f"`photographs` (={str(case.photographs)!r}) must have no comma for the row `{mixed[0]}`, which lists "
            "sources"
        )
    classes, images = len(case.study.classes), len(case.study.training.pixels)
    model = case.recipe.model_for(classes, seed=0)
    if case.recipe.tuning == GENTLE:
        check_classifier(model)
    for row in rows:
        if row == ATTENTION:
            AttentionAround(model, classes, case.recipe.image_size)
        else:
            check_length(case.recipe.settings(row, 0, case.photographs), images)
    ours = open_folder(output, case.settings(), resume=resume)
    before = read_results(output / "results.json", case.description())
    elsewhere = read_results(published / "results.json", case.description()) if published is not None else None
    if published is not None:
        check_writable(published, "published")
    begin_folder(output, ours)
    if elsewhere is not None:
        write_json(output / "results.json", with_published(before, elsewhere) if before is not None else elsewhere)


def run_case_study(
    case: CaseStudy,
    rows: Sequence[str],
    seeds: Sequence[int],
    output: Path,
    report: Report,
    after_row: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Train and test every row for every seed, but those that are done.

    Args:
        case: what to run.
        rows: of `ROWS`.
        seeds: of the trainings.
        output: the folder that `open_case_study` opened; it gets `results.json` after every row, and the figure of the
            first seed's proposal.
        report: called after every step.
        after_row: called after every row, when it is in `results.json`.

    Returns:
        What `results.json` holds.
    """
    study = case.study
    photographs, columns = note_photographs(case.photographs, output), columns_of(study, case.photographs)
    before_unseen = _before_unseen(columns, photographs) if set(rows) & set(OF_PHOTOGRAPHS) else []
    here = environment(case.device)
    before = read_results(output / "results.json", case.description())
    results: dict[str, Any] = before if before is not None else case.description() | here | {"seeds": {}}
    write_json(output / "results.json", results)
    bfloat16 = case.recipe.precision == "bfloat16"
    for seed in seeds:
        unseen = left_out_of_training(photographs, seed)
        measured = results["seeds"].setdefault(str(seed), {})
        for row in rows:
            if row in measured:
                continue
            state_file = output / f"seed-{seed}" / row / "state.pt"
            state_file.parent.mkdir(parents=True, exist_ok=True)
            fitted = _train(case, row, seed, unseen, state_file, partial(report, run=f"{row} {seed}"))
            tested = before_unseen[seed % PARTS] if row in OF_PHOTOGRAPHS else columns
            measured[row] = measured_in({row: {}}, here, results)[row] | {
                "accuracy": measure(fitted.model, tested, bfloat16=bfloat16),
                "seconds": round(sum(fitted.phase_seconds.values()), 1),
                "phase_seconds": {phase: round(seconds, 1) for phase, seconds in fitted.phase_seconds.items()},
            }
            if fitted.wrapper is not None:
                measured[row]["mask"] = asdict(rate_learned_masks(fitted.wrapper, study))
            if row == PROPOSAL and seed == seeds[0]:
                _draw_examples(fitted, study, output / EXAMPLES)
            write_json(output / "results.json", results)
            after_row()
            # It has done its work, and is larger than all of the rest.
            for file in state_file.parent.glob("*.pt"):
                file.unlink()
    return results


def _before_unseen(columns: Columns, photographs: Sequence[Path]) -> list[Columns]:
    """For each part of the photographs, the columns of rows that have not seen it."""
    return [columns.before(left_out_of_training(photographs, part)) for part in range(PARTS)]


def _train(
    case: CaseStudy, row: str, seed: int, unseen: Sequence[Path], state_file: Path, report: Callable[..., None]
) -> Fitted:
    study, recipe = case.study, case.recipe
    training, held_out = study.training, study.held_out
    data = TrainingData(training.pixels, training.targets, held_out.pixels, held_out.targets)
    model = recipe.model_for(len(study.classes), seed).to(case.device)
    if row == ATTENTION:
        return fit_attention(model, data, recipe.settings(BASELINE, seed, case.photographs), state_file, report)
    settings = recipe.settings(row, seed, case.photographs, unseen)
    return fit(model, data, settings, state_file=state_file, report=report)


def _draw_examples(fitted: Fitted, study: Study, path: Path) -> None:
    """Images, the mask generator's activations, Otsu's threshold of them and composites, as the paper's figure has."""
    if fitted.wrapper is None:
        return
    companions, pixels = fitted.wrapper.companions, study.held_out.pixels
    chosen = torch.linspace(0, len(pixels) - 1, min(_SHOWN_IMAGES, len(pixels))).long()
    shown = preview(companions, companions.pixel_space.from_pixels(pixels[chosen].to(companions.device) / 255))
    composite_rows(shown.images, shown.masks, shown.composites, path, binarized_masks=shown.binarized)

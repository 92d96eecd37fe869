"""`advbg reproduce --task`: run a demonstration, and keep what a page of the documentation shows."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from advbg.benchmark.demonstrations.protocol import Demonstration
from advbg.benchmark.demonstrations.registry import TASKS, make_demonstration
from advbg.benchmark.demonstrations.running import EXAMPLES, SCORES, open_demonstration, run_demonstration
from advbg.benchmark.demonstrations.tables import markdown_table, rich_table
from advbg.benchmark.files import check_writable, copy_file, read_json, write_text
from advbg.benchmark.progress import flushing_denormals, progress_bar
from advbg.benchmark.reproduce import check_precision

# Options of `reproduce` that mean nothing elsewhere.
_ONLY_CLASSIFICATION = ("methods", "seed", "augmentation", "photographs")
_ONLY_DEMONSTRATIONS = ("seeds", "published")
_ONLY_IMAGES = ("dataset", "data_dir", "train_size", "epochs", "batch_size", "precision")
# What the page shows of a run.
_PUBLISHED = ("results.json", SCORES, EXAMPLES)


def refuse_foreign_options(task: str, **options: object) -> None:
    """Refuse what was passed but means nothing for a task.

    Args:
        task: `classification` or one of `TASKS`.
        options: of the command, by name; None where one was not passed.

    Raises:
        ValueError: where there is such an option; it is named.
    """
    if task == "classification":
        foreign = _ONLY_DEMONSTRATIONS
    elif task == "reinforcement":
        foreign = (*_ONLY_CLASSIFICATION, *_ONLY_IMAGES)
    else:
        foreign = _ONLY_CLASSIFICATION
    for name in foreign:
        if options[name] is not None:
            raise ValueError(f"`--{name.replace('_', '-')}` has no meaning for the task {task}")


def prepare_demonstration(
    task: str,
    *,
    dataset: str,
    data_dir: Path,
    train_size: int | None,
    epochs: tuple[int, int, int] | None,
    batch_size: int | None,
    precision: str,
    output: Path,
    resume: bool,
    published: Path | None,
) -> Demonstration:
    """Make a demonstration and open the folder of its run, once it is known that it can be published.

    The arguments are those of `make_demonstration`, `open_demonstration` and `demonstrate`.

    Raises:
        OSError: where `published` takes no files.
        ValueError: where results of a task that are published there are damaged.
    """
    check_precision(precision)
    demonstration = make_demonstration(
        task,
        dataset=dataset,
        data_dir=data_dir,
        train_size=train_size,
        epochs=epochs,
        batch_size=batch_size,
        bfloat16=precision == "bfloat16",
    )
    if published is not None:
        check_writable(published / "tasks" / demonstration.name, "published")
        _read_published(published)
    open_demonstration(output, demonstration, resume=resume)
    return demonstration


def demonstrate(demonstration: Demonstration, seeds: tuple[int, ...], output: Path, published: Path | None) -> None:
    """Run a demonstration and print its table.

    Args:
        demonstration: what to run.
        seeds: of the trainings.
        output: the folder that `open_demonstration` opened.
        published: folder of the documentation's results, which gets figures and page; None publishes nothing.
    """
    console = Console()
    with progress_bar(console) as report, flushing_denormals():
        results = run_demonstration(demonstration, seeds, output, report)
    console.print(rich_table(results))
    console.print(f"Tables, figures and trainings are in [bold]{escape(str(output))}[/bold]", soft_wrap=True)
    if published is not None:
        target = published / "tasks" / demonstration.name
        target.mkdir(parents=True, exist_ok=True)
        for name in _PUBLISHED:
            copy_file(output / name, target / name)
        console.print(f"Published: {write_page(published)}", soft_wrap=True)


def write_page(published: Path) -> Path:
    """Write `tasks/index.md` from the published results of all demonstrations.

    Args:
        published: folder of the documentation's results.

    Returns:
        The page.

    Raises:
        ValueError: where the published results of a task are damaged.
    """
    page = published / "tasks" / "index.md"
    parts = [
        "# Other tasks\n\n"
        "Models that learned before black, tested before the paper's six backgrounds, and thirty made ones that nobody "
        "trained on or tuned for. `advbg reproduce --task` makes each of these anew; `proposal` is the library's "
        "default but for what each section says, without silhouettes but for segmentation, where the label map is the "
        "mask.\n"
    ]
    for task, results in _read_published(published).items():
        parts.append(
            f"## {task.capitalize()}\n\n{results['description']}\n\n{markdown_table(results)}\n"
            f"![Before each kind of background]({task}/{SCORES})\n\n![Examples]({task}/{EXAMPLES})\n"
        )
    write_text(page, "\n".join(parts))
    return page


def _read_published(published: Path) -> dict[str, dict[str, Any]]:
    """Results by task, of those that have some."""
    files = {task: published / "tasks" / task / "results.json" for task in TASKS}
    return {task: read_json(file, "settings", "seeds", "summary") for task, file in files.items() if file.is_file()}

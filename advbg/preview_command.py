"""The command `advbg preview`."""

from pathlib import Path
from typing import Annotated

import torch
import torchvision.transforms.v2.functional as transforms
import typer
from torch import Tensor

from advbg.backgrounds import parse_background
from advbg.backgrounds.photographs import list_images, read_image
from advbg.command_line import RUNS, load_state, mendable, some_path
from advbg.preview import preview as make_preview
from advbg.preview import rebuild
from advbg.training.squares import check_fit, read_square

_SHOWN_IMAGES = 16


def preview(
    images: Annotated[list[Path], typer.Argument(parser=some_path, help="Image files, or folders of them.")],
    output: Annotated[Path, typer.Option(parser=some_path, metavar="FILE.png", help="The figure to write.")],
    companions: Annotated[
        Path | None,
        typer.Option(
            parser=some_path,
            metavar="FILE",
            help="A saved `companions.state_dict()`; by default that of the newest run in `runs`.",
        ),
    ] = None,
    background: Annotated[
        str | None, typer.Option(help="What they were trained against, where that was photographs: as for `train`.")
    ] = None,
    fit: Annotated[
        str | None, typer.Option(help="`pad` images to squares in colour, the default, or `crop` them: as for `train`.")
    ] = None,
) -> None:
    """Show what a trained wrapper's companions make of images: image, mask, binarised mask, composite."""
    from advbg.benchmark.figures import composite_rows

    with mendable():
        if output.suffix.lower() != ".png":
            raise ValueError(f"`output` (={str(output)!r}) must end in .png")
        if not output.resolve().parent.is_dir():
            raise FileNotFoundError(f"the folder of `output` (={str(output)!r}) does not exist")
        if fit is not None:
            check_fit(fit, "fit")
        state_file = companions or _newest_companions()
        against = parse_background(background, "background") if background is not None else None
        restored = rebuild(load_state(state_file), against)
        files = [file for path in images for file in (list_images(path) if path.is_dir() else [path])]
        channels, height, width = restored.image_shape or (0, 0, 0)
        if fit is not None and (channels != 3 or height != width):
            raise ValueError(
                f"`fit` (={fit!r}) is for squares in colour, but the companions have seen {channels} channels of "
                f"{height} x {width} pixels"
            )
        # Spread over all of them, since a folder's files are in the order of its classes.
        chosen = torch.linspace(0, len(files) - 1, min(_SHOWN_IMAGES, len(files))).long().tolist()
        shown = [_read_whole(files[index], channels, height, width, fit) for index in chosen]
        if restored.masks_given and restored.mask_optimizer is not None and not restored.mask_optimizer.state:
            raise ValueError(
                f"the training of {str(state_file)!r} was given its masks, so its companions have learned none to show"
            )
        made = make_preview(restored, restored.pixel_space.from_pixels(torch.stack(shown)))
        composite_rows(made.images, made.masks, made.composites, output, binarized_masks=made.binarized)
    print(f"{output}: {len(shown)} of {len(files)} images, by {state_file}")


def _read_whole(file: Path, channels: int, height: int, width: int, fit: str | None) -> Tensor:
    """An image of this size: squares of colours as `advbg train` shows them to a model, others by their middle."""
    if channels == 3 and height == width:
        return read_square(file, height, fit or "pad") / 255
    resized = transforms.resize(read_image(file, channels), [max(height, width)], antialias=True)
    return transforms.center_crop(resized, [height, width])


def _newest_companions() -> Path:
    # Of `advbg train`, and of the rows of `advbg reproduce`.
    found = [file for place in ("*", "*/*") for file in RUNS.glob(f"{place}/companions.pt")]
    files = sorted(found, key=lambda path: path.stat().st_mtime)
    if not files:
        raise FileNotFoundError(
            "no trained companions in `runs`: run `advbg train` or `advbg reproduce`, or pass --companions FILE"
        )
    return files[-1]

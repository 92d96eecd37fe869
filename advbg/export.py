"""A trained background generator as a file of its own, for pipelines that have no companions."""

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from advbg.backgrounds import GeneratorPopulation, PaperGenerator
from advbg.companions import Companions
from advbg.files import load_weights, save_weights

_HEADER = "advbg_generator"


def export_generator(companions: Companions, path: str | Path) -> None:
    """Write the weights of a trained background generator, with what is needed to build it again in the header.

    Args:
        companions: of a wrapper or an attachment, after their first batch.
        path: of the file, which ends in `.safetensors`; it appears whole or not at all.

    Raises:
        TypeError: where `companions` is something else.
        ValueError: where `path` has another ending or no folder, there was no batch yet, or the background source is
            neither `GeneratorPopulation` nor `PaperGenerator`.
    """
    if not isinstance(companions, Companions):
        raise TypeError(f"`companions` (a {type(companions).__name__}) must be those of a wrapper or an attachment")
    path = Path(path)
    if path.suffix != ".safetensors" or not path.parent.is_dir():
        raise ValueError(f"`path` (={str(path)!r}) must end in .safetensors and be in a folder that exists")
    if companions.image_shape is None:
        raise ValueError("`companions` have seen no batch: there is no generator to export yet")
    source = companions.source
    if not isinstance(source, GeneratorPopulation | PaperGenerator):
        raise ValueError(
            f"the background source is a {type(source).__name__}: only `background='adversarial'`, `'random'` and "
            "`'paper'` are generators that can be exported"
        )
    description: dict[str, Any] = {"kind": type(source).__name__, "image_shape": companions.image_shape}
    if isinstance(source, GeneratorPopulation):
        description["species"] = [member.kind for member in source.members]
    save_weights(dict(source.named_parameters()), path, header=_HEADER, description=description)


class ExportedGenerator(nn.Module):
    """A background generator that `export_generator` wrote. It learns nothing any more.

    Args:
        path: of the file.

    Raises:
        FileNotFoundError: where there is no such file.
        ValueError: where it is damaged or something else.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        description, weights = load_weights(
            self.path, header=_HEADER, kind="generator", writer=export_generator.__name__
        )
        self.image_shape: tuple[int, int, int] = tuple(description["image_shape"])
        self.network = _build(description)
        try:
            _, unexpected = self.network.load_state_dict(weights, strict=False)
            missing = {name for name, _ in self.network.named_parameters()} - set(weights)
            if missing or unexpected:
                raise RuntimeError(f"missing {sorted(missing)}, unexpected {sorted(unexpected)}")
        except RuntimeError as error:
            raise ValueError(f"generator {str(path)!r} does not hold the weights it describes: {error}") from error
        # Channels last, as companions are: twice as fast on CPUs.
        self.network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.requires_grad_(False)

    def sample(
        self, count: int, shape: tuple[int, int, int], generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds; a population's members take turns, from a random one on.

        Raises:
            ValueError: where the images have another number of channels than those it was trained on.
        """
        if shape[0] != self.image_shape[0]:
            raise ValueError(
                f"generator {str(self.path)!r} makes backgrounds of {self.image_shape[0]} channels, but the images "
                f"have {shape[0]}"
            )
        self.to(generator.device)
        if isinstance(self.network, GeneratorPopulation):
            # A population deals its members out in turn from here on; a single image must not always get the first.
            members = len(self.network.members)
            self.network.age = int(torch.randint(members, (), generator=generator, device=generator.device))
            return self.network.sample(count, shape, generator)
        # The paper's generator fills only images of the size it was made for.
        backgrounds = self.network.sample(count, self.image_shape, generator)
        size = shape[1:]
        return backgrounds if backgrounds.shape[-2:] == size else F.interpolate(backgrounds, size, mode="bilinear")


def _build(description: dict[str, Any]) -> GeneratorPopulation | PaperGenerator:
    channels, height, width = description["image_shape"]
    # Layers draw first weights from the global random stream, which is not ours.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        first_weights = torch.Generator()
        if description["kind"] == GeneratorPopulation.__name__:
            species = [(doublings, tiles, straight) for doublings, tiles, straight in description["species"]]
            return GeneratorPopulation(channels, first_weights, species=species, climbing=0)
        return PaperGenerator(channels, height, width, first_weights)

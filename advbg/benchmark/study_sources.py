"""Background sources that the study of the adversary compares with the library's own."""

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.ops import deform_conv2d

from advbg.backgrounds import BackgroundSource, GeneratorPopulation, TrainableSource
from advbg.backgrounds.population import SPECIES, BackgroundGenerator

# The model's mean loss on composites with these backgrounds, with a graph.
Harm = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]

_BIRTHS, _SHOWN = 4, 16
_LATENT_LIFETIME = 10
_ASCENT_STEPS, _ASCENT_RATE, _ASCENT_FILTERS = 3, 1e-2, 32
_LARGEST_REPETITION = 10
_OFFSET_SPREAD, _AFFINE_SPREAD = 0.2, 0.5


class MostHarmfulBirths(GeneratorPopulation):
    """A population whose newborns are chosen: of several births the one that harms the model most survives.

    Args:
        shape: channels, height and width of the backgrounds.
        generator: draws the first weights.
        harm: of backgrounds.
    """

    def __init__(self, shape: Shape, generator: torch.Generator, harm: Harm) -> None:
        super().__init__(shape[0], generator, climbing=len(SPECIES), climb_every=1, learning_rate=1e-3)
        self.harm, self.shape = harm, shape

    @torch.no_grad()
    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter]:
        """Grow older; let births compete."""
        born = list(super().advance(generator))
        newborn = {id(parameter) for parameter in born}
        for member in self.members:
            if id(next(member.parameters())) in newborn:
                self._choose(member, generator)
        return born

    def _choose(self, member: nn.Module, generator: torch.Generator) -> None:
        candidates = []
        for _ in range(_BIRTHS):
            member.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
            weights = {name: value.clone() for name, value in member.state_dict().items()}
            candidates.append((self.harm(member(_SHOWN, *self.shape[1:], generator)).item(), weights))
        member.load_state_dict(max(candidates, key=lambda candidate: candidate[0])[1])


class LatentAscent(TrainableSource):
    """Random generators whose noise climbs as well as their weights; all are drawn anew after a few steps.

    Args:
        count: backgrounds in a whole batch.
        shape: channels, height and width of the backgrounds.
        generator: draws weights and noise.
    """

    learning_rate = 3e-2

    def __init__(self, count: int, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.members = nn.ModuleList(BackgroundGenerator(shape[0], *kind) for kind in SPECIES)
        shares = [len(range(place, count, len(SPECIES))) for place in range(len(SPECIES))]
        self.noise = nn.ParameterList(
            nn.Parameter(member.draw_noise(share, *shape[1:], generator))  # pyright: ignore[reportCallIssue]
            for member, share in zip(self.members, shares, strict=True)
        )
        self.age = 0
        self._reset_parameters(generator)

    def sample(
        self, count: int, shape: Shape, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds from the noise as it stands."""
        made = [
            member.paint(noise, *shape[1:], generator)  # pyright: ignore[reportCallIssue]
            for member, noise in zip(self.members, self.noise, strict=True)
        ]
        return torch.cat(made)[:count]

    def advance(self, generator: torch.Generator) -> Iterable[nn.Parameter]:
        """Grow older; draw everything anew at the end of a life."""
        self.age += 1
        if self.age % _LATENT_LIFETIME:
            return ()
        self._reset_parameters(generator)
        return self.parameters()

    @torch.no_grad()
    def _reset_parameters(self, generator: torch.Generator) -> None:
        for member, noise in zip(self.members, self.noise, strict=True):
            member.reset_parameters(generator)  # pyright: ignore[reportCallIssue]
            noise.normal_(generator=generator)


class Blended:
    """Two backgrounds of another source in one, divided by the bright and dark parts of a third.

    Args:
        source: where all three come from.
    """

    def __init__(self, source: BackgroundSource) -> None:
        self.source = source

    def sample(
        self, count: int, shape: Shape, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds; every second one stays as the source made it."""
        first, second, parts = (self.source.sample(count, shape, generator) for _ in range(3))
        divides = parts > parts.flatten(1).median(dim=1).values[:, None, None, None]
        divides[::2] = True
        # Rolled, so that the two come from different members of a population.
        return torch.where(divides, first, second.roll(1, dims=0))


class RandomPopulation:
    """The library's source `random` as a part of another source: drawn anew for every batch."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        self.population = GeneratorPopulation(channels, generator, climbing=0)

    def sample(
        self, count: int, shape: Shape, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds."""
        list(self.population.advance(generator))
        return self.population.sample(count, shape, generator)


class AscendedForEachBatch:
    """ALT's adversary, on the background alone (Gokhale et al., WACV 2023).

    A convolutional network from noise to backgrounds is drawn anew for each batch and climbs the loss on that very
    batch for a few steps.

    Args:
        harm: of backgrounds.
    """

    def __init__(self, harm: Harm) -> None:
        self.harm = harm

    def sample(
        self, count: int, shape: Shape, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds that harm the model on the current batch."""
        channels = shape[0]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            network = nn.Sequential(
                nn.Conv2d(channels, _ASCENT_FILTERS, 3, padding=1),
                nn.LeakyReLU(),
                nn.Conv2d(_ASCENT_FILTERS, _ASCENT_FILTERS, 3, padding=1),
                nn.LeakyReLU(),
                nn.Conv2d(_ASCENT_FILTERS, channels, 3, padding=1),
                nn.Sigmoid(),
            )
        noise = torch.rand((count, *shape), generator=generator)
        ascent = torch.optim.Adam(network.parameters(), lr=_ASCENT_RATE, maximize=True)
        with torch.enable_grad():
            for _ in range(_ASCENT_STEPS):
                parameters = list(network.parameters())
                for parameter, gradient in zip(
                    parameters, torch.autograd.grad(self.harm(network(noise)), parameters), strict=True
                ):
                    parameter.grad = gradient
                ascent.step()
        with torch.no_grad():
            return network(noise)


class ProgressiveRandomConvolutions:
    """Pro-RandConv on noise in place of the background (Choi et al., CVPR 2023).

    One random block (a deformable 3x3 convolution, standardisation, a random affine, tanh) is applied again and again.
    """

    @torch.no_grad()
    def sample(
        self, count: int, shape: Shape, generator: torch.Generator
    ) -> Float[Tensor, "count channel height width"]:
        """Make backgrounds with one block for the whole batch, as the method does."""
        channels, height, width = shape

        def draw(*size: int) -> Tensor:
            return torch.randn(size, generator=generator)

        def uniform() -> float:
            return torch.rand((), generator=generator).item()

        weight = draw(channels, channels, 3, 3) / (3 * channels**0.5)
        offsets = (_OFFSET_SPREAD * uniform() * draw(1, 18, height, width)).expand(count, -1, -1, -1)
        scale, shift = _AFFINE_SPREAD * draw(2, 1, channels, 1, 1)
        images = torch.rand((count, *shape), generator=generator)
        for _ in range(1 + int(uniform() * _LARGEST_REPETITION)):
            images = F.instance_norm(deform_conv2d(images, offsets, weight, padding=(1, 1)))
            images = torch.tanh(scale * images + shift)
        return (images + 1) / 2

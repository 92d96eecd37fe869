"""What every source promises, and what each is."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advbg import BackgroundSource, TrainableSource
from advbg.backgrounds import SOURCE_NAMES, Black, GeneratorPopulation, Noise, PaperGenerator, make_source
from advbg.backgrounds.population import BackgroundGenerator, join_tiles
from tests.models import a_batch, adversarial_wrapper


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(SOURCE_NAMES),
    count=st.integers(1, 15),
    channels=st.sampled_from([1, 2, 3]),
    height=st.integers(3, 90),
    width=st.integers(3, 90),
)
def test_backgrounds_have_the_shape_asked_for_and_lie_in_the_unit_interval(
    name: str, count: int, channels: int, height: int, width: int
) -> None:
    shape = (channels, height, width)
    source = make_source(name, shape, _seeded())
    assert isinstance(source, BackgroundSource)
    backgrounds = source.sample(count, shape, _seeded(1))
    assert backgrounds.shape == (count, *shape)
    assert backgrounds.dtype == torch.float32
    assert 0 <= backgrounds.min() <= backgrounds.max() <= 1
    assert torch.equal(backgrounds, source.sample(count, shape, _seeded(1)))


@pytest.mark.parametrize("name", ["adversarial", "random", "scenes", "paper", "noise"])
def test_another_random_state_makes_other_backgrounds(name: str) -> None:
    source = make_source(name, (1, 16, 16), _seeded())
    first, second = (source.sample(4, (1, 16, 16), _seeded(seed)) for seed in (1, 2))
    assert not torch.equal(first, second)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"`background` \(='forest'\) must be one of adversarial, random"):
        make_source("forest", (1, 8, 8), _seeded())


def test_black_is_black_and_noise_is_uniform() -> None:
    assert not Black().sample(3, (1, 5, 5), _seeded()).any()
    noise = Noise().sample(8, (1, 64, 64), _seeded())
    assert noise.mean().item() == pytest.approx(0.5, abs=0.01)
    assert noise.var().item() == pytest.approx(1 / 12, abs=0.005)


def test_only_trainable_sources_have_parameters_to_climb() -> None:
    climbing = {}
    for name in SOURCE_NAMES:
        source = make_source(name, (1, 16, 16), _seeded())
        climbing[name] = source.sample(16, (1, 16, 16), _seeded()).requires_grad
        assert climbing[name] == (isinstance(source, nn.Module) and any(p.requires_grad for p in source.parameters()))
    assert {name for name, climbs in climbing.items() if climbs} == {"adversarial", "paper"}


def test_the_population_draws_from_every_member_in_turn_even_for_single_images() -> None:
    population = GeneratorPopulation(1, _seeded(), climbing=8, climb_every=1, lifetime=100)
    used = set()
    for _ in population.members:
        population.sample(1, (1, 16, 16), _seeded()).sum().backward()
        used |= {i for i, member in enumerate(population.members) if member.head.weight.grad is not None}
        population.zero_grad()
        population.advance(_seeded())
    assert used == set(range(len(population.members)))


def test_every_member_is_born_anew_once_in_a_lifetime_and_never_all_at_once() -> None:
    population = GeneratorPopulation(1, _seeded(), climbing=8, lifetime=12)
    births = []
    for step in range(12):
        before = [member.head.weight.detach().clone() for member in population.members]
        born = set(population.advance(_seeded(step)))
        changed = [i for i, member in enumerate(population.members) if not torch.equal(before[i], member.head.weight)]
        assert born == {parameter for i in changed for parameter in population.members[i].parameters()}
        births.append(changed)
    assert sorted(index for step in births for index in step) == list(range(len(population.members)))
    assert max(len(step) for step in births) == 1


def test_members_that_do_not_climb_are_drawn_anew_in_every_step() -> None:
    population = GeneratorPopulation(1, _seeded(), climbing=2, lifetime=100)
    for step in (1, 2, 3):
        before = [member.head.weight.detach().clone() for member in population.members]
        born = list(population.advance(_seeded(step)))
        changed = [not torch.equal(before[i], member.head.weight) for i, member in enumerate(population.members)]
        assert changed == [True] * 6 + [False] * 2
        assert born == []


@pytest.mark.parametrize("straight", [False, True])
def test_only_straight_generators_vary_along_one_direction(straight: bool) -> None:
    generator = BackgroundGenerator(1, 3, 1, straight=straight)
    generator.reset_parameters(_seeded())
    images = generator(64, 32, 32, _seeded()).detach().double()
    down, right = images.diff(dim=2)[..., :-1].flatten(1), images.diff(dim=3)[..., :-1, :].flatten(1)
    mixed = (down * right).sum(dim=1)
    tensor = torch.stack([(down**2).sum(dim=1), mixed, mixed, (right**2).sum(dim=1)], dim=1).view(-1, 2, 2)
    least, most = torch.linalg.eigvalsh(tensor).unbind(dim=1)
    assert ((least / most).median() < 0.05) == straight


def test_a_class_sorted_batch_gets_every_kind_of_background_everywhere() -> None:
    population = GeneratorPopulation(1, _seeded(), species=((3, 1, False), (0, 1, False)), climbing=0)
    roughness = population.sample(64, (1, 32, 32), _seeded()).logit().diff(dim=3).abs().mean(dim=(1, 2, 3))
    spread = population.sample(64, (1, 32, 32), _seeded()).logit().std(dim=(1, 2, 3))
    rough = roughness / spread > 0.8
    assert 0.2 < rough[:32].float().mean() < 0.8


@pytest.mark.parametrize("climbing", [-1, 9])
def test_more_climbers_than_members_are_refused(climbing: int) -> None:
    with pytest.raises(ValueError, match=rf"`climbing` \(={climbing}\)"):
        GeneratorPopulation(1, _seeded(), climbing=climbing)


def test_a_member_that_dies_takes_its_optimiser_state_along() -> None:
    from tests.models import adversarial_wrapper, train

    wrapper = adversarial_wrapper(background=GeneratorPopulation(3, _seeded(), climbing=8, climb_every=1, lifetime=6))
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 13)
    state = wrapper.companions.background_optimizer.state
    ages = [
        int(state[p]["step"]) if p in state else 0 for p in (m.head.weight for m in wrapper.companions.source.members)
    ]
    assert max(ages) <= 5
    assert min(ages) == 0


def test_no_weights_can_turn_a_generator_flat_for_good() -> None:
    generator = BackgroundGenerator(1, 1, 1)
    generator.reset_parameters(_seeded())
    for parameter in generator.head.parameters():
        parameter.data.mul_(0.01)
    spread = generator(64, 16, 16, _seeded()).std(dim=(1, 2, 3))
    assert spread.median() > 0.05


@pytest.mark.parametrize("name", ["lifetime", "climb_every"])
def test_a_lifetime_or_pause_under_one_step_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` \(=0\)"):
        GeneratorPopulation(1, _seeded(), **{name: 0})


def test_nothing_is_differentiated_between_climbs() -> None:
    population = GeneratorPopulation(1, _seeded(), climb_every=3)
    climbs = []
    for step in range(7):
        climbs.append(population.sample(16, (1, 16, 16), _seeded()).requires_grad)
        population.advance(_seeded(step))
    assert climbs == [True, False, False, True, False, False, True]


def test_tiles_are_laid_out_row_by_row() -> None:
    pieces = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 2, 3)
    mosaics = join_tiles(pieces, 2)
    assert mosaics.shape == (2, 1, 4, 6)
    corners = mosaics[:, 0, ::3, ::5].flatten(1)
    assert corners.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_the_papers_generator_for_32_pixels_has_its_filters_and_rate() -> None:
    source = PaperGenerator(1, 32, 32, _seeded())
    sizes = [(c.in_channels, c.out_channels) for c in (*source.convolutions, source.head)]
    assert sizes == [(1, 128), (128, 64), (64, 32), (32, 1)]
    assert source.learning_rate == 1e-5


def test_the_papers_generator_begins_with_weights_that_its_seed_draws_and_with_zero_biases() -> None:
    first, second = (dict(PaperGenerator(3, 16, 16, _seeded()).named_parameters()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(parameter.any() for name, parameter in first.items() if name.endswith("bias"))


def test_the_papers_mosaics_are_cropped_for_images_that_they_do_not_fill_exactly() -> None:
    between, larger = (PaperGenerator(3, side, side, _seeded()).sample(2, (3, 40, 36), _seeded()) for side in (40, 64))
    assert torch.equal(between, larger)


def test_the_papers_generator_serves_images_of_other_sizes_than_it_was_made_for() -> None:
    source = PaperGenerator(3, 32, 32, _seeded())
    assert source.sample(2, (3, 20, 28), _seeded(1)).shape == (2, 3, 20, 28)
    larger, plain = (source.sample(2, (3, *size), _seeded(1)) for size in ((64, 48), (32, 32)))
    torch.testing.assert_close(larger, F.interpolate(plain, (64, 64), mode="bilinear")[..., :48])
    wrapper = adversarial_wrapper(background="paper")
    wrapper.companions.attached = True
    wrapper(a_batch()[0])
    wrapper(a_batch(size=(48, 48))[0])


def test_a_source_of_ones_own_takes_part_in_the_max_step() -> None:
    from tests.models import adversarial_wrapper, train

    class OneColor(TrainableSource):
        learning_rate = 0.5

        def __init__(self) -> None:
            super().__init__()
            self.color = nn.Parameter(torch.zeros(3))

        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> torch.Tensor:
            return torch.sigmoid(self.color)[None, :, None, None].expand(count, *shape)

    wrapper = adversarial_wrapper(background=OneColor())
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    train(wrapper, optimizer, 2)
    assert wrapper.companions.source.color.abs().max() > 0.4


def test_a_trainable_source_without_sample_says_so() -> None:
    with pytest.raises(NotImplementedError, match="must define `sample`"):
        TrainableSource().sample(1, (1, 2, 2), _seeded())


@pytest.mark.parametrize("count", range(1, 9))
def test_however_few_backgrounds_there_are_all_members_are_shown_and_all_climbers_climb(count: int) -> None:
    population = GeneratorPopulation(1, _seeded(), lifetime=1000)
    shown = [0] * len(population.members)
    climbed = [0] * len(population.members)
    for index, member in enumerate(population.members):
        member.register_forward_hook(lambda *_, index=index: shown.__setitem__(index, shown[index] + 1))
    for step in range(64):
        generator = _seeded(step)
        backgrounds = population.sample(count, (1, 16, 16), generator)
        assert len(backgrounds) == count
        if backgrounds.requires_grad:
            backgrounds.sum().backward()
            for index, member in enumerate(population.members):
                gradients = [parameter.grad for parameter in member.parameters() if parameter.grad is not None]
                climbed[index] += any(bool(gradient.any()) for gradient in gradients)
        population.zero_grad()
        population.advance(generator)
    # Of two climbers one at a time, in turns, where there is one background, and both where there are more.
    assert climbed == [0] * 6 + ([8, 8] if count == 1 else [16, 16])
    assert min(shown) >= 64 * count // 16

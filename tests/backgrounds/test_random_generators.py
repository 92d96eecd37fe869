"""Random generators outside of companions."""

import pickle

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advbg.backgrounds.population import SPECIES
from advbg.backgrounds.random_generators import RandomGenerators


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 11), channels=st.sampled_from([1, 3, 4]), height=st.integers(3, 80), width=st.integers(3, 80)
)
def test_backgrounds_are_pixels_of_the_shape_asked_for_and_a_seed_repeats_them_whatever_was_drawn_before(
    count: int, channels: int, height: int, width: int
) -> None:
    shape, used = (channels, height, width), RandomGenerators()
    used.sample(2, (3, 8, 8), _seeded(5))
    used.sample(3, shape, _seeded(6))
    backgrounds = used.sample(count, shape, _seeded())
    assert backgrounds.shape == (count, *shape)
    assert backgrounds.dtype == torch.float32
    assert 0 <= backgrounds.min() <= backgrounds.max() <= 1
    assert torch.equal(backgrounds, RandomGenerators().sample(count, shape, _seeded()))


def test_single_images_get_all_kinds_of_generators() -> None:
    source, kinds = RandomGenerators(), []
    population = source._population_of(3)
    for member in population.members:
        member.register_forward_hook(lambda module, *_: kinds.append(module.kind))
    for seed in range(100):
        source.sample(1, (3, 8, 8), _seeded(seed))
    assert set(kinds) == set(SPECIES)


def test_each_call_draws_the_generators_anew() -> None:
    source = RandomGenerators()
    source.sample(1, (1, 8, 8), _seeded())
    before = [weights.clone() for weights in source._population_of(1).parameters()]
    source.sample(1, (1, 8, 8), _seeded(1))
    assert not any(
        torch.equal(old, new) for old, new in zip(before, source._population_of(1).parameters(), strict=True)
    )


def test_the_global_random_stream_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    RandomGenerators().sample(2, (3, 8, 8), _seeded())
    assert torch.equal(torch.rand(3), expected)


def test_workers_of_a_loader_can_take_it_along() -> None:
    source = RandomGenerators()
    expected = source.sample(2, (3, 8, 8), _seeded())
    assert torch.equal(pickle.loads(pickle.dumps(source)).sample(2, (3, 8, 8), _seeded()), expected)

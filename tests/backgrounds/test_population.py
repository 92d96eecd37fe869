"""What the members of a population show, when, and for how long."""

import torch

from advbg.backgrounds import GeneratorPopulation
from advbg.backgrounds.population import BackgroundGenerator


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_random_source_shows_every_member_in_turn_to_single_images() -> None:
    population, generator, shown = GeneratorPopulation(1, _seeded(), climbing=0), _seeded(), []
    for index, member in enumerate(population.members):
        member.register_forward_hook(lambda *_, index=index: shown.append(index))
    for _ in population.members:
        population.sample(1, (1, 8, 8), generator)
        population.advance(generator)
    assert sorted(shown) == list(range(len(population.members)))


def test_backgrounds_are_of_every_contrast() -> None:
    population = GeneratorPopulation(1, _seeded(), climbing=0)
    contrasts = population.sample(400, (1, 16, 16), _seeded()).std(dim=(1, 2, 3))
    assert contrasts.min() < 0.05
    assert contrasts.max() > 0.35


def test_backgrounds_are_of_every_brightness() -> None:
    population = GeneratorPopulation(1, _seeded(), climbing=0)
    brightness = population.sample(400, (1, 16, 16), _seeded()).mean(dim=(1, 2, 3))
    # Of a uniform brightness it would be 0.29.
    assert 0.18 < brightness.std() < 0.32


def test_straight_lines_run_in_all_directions() -> None:
    generator = BackgroundGenerator(1, 1, 1, straight=True)
    generator.reset_parameters(_seeded())
    images = generator(64, 32, 32, _seeded()).detach().logit()
    down, right = (images.diff(dim=dim).abs().mean(dim=(1, 2, 3)) for dim in (2, 3))
    assert (down > 3 * right).any()
    assert (right > 3 * down).any()


def test_by_default_two_members_live_for_40_steps_and_climb_in_every_fourth() -> None:
    population, climbs = GeneratorPopulation(1, _seeded()), []
    births = {parameter: [] for member in population.members[-2:] for parameter in member.parameters()}
    for step in range(80):
        climbs.append(population.sample(8, (1, 4, 4), _seeded(step)).requires_grad)
        for parameter in population.advance(_seeded(step)):
            births[parameter].append(step)
    assert climbs == [True, False, False, False] * 20
    assert all(len(steps) == 2 and steps[1] - steps[0] == 40 for steps in births.values())

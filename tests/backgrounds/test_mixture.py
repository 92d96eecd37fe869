"""Several sources at once."""

import copy
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from advbg import AdversarialBackground, Photographs, Schedule, TrainableSource
from advbg.backgrounds import Mixture, background_name, check_background, is_ours, make_source, parse_background
from advbg.optimization import make_optimizer


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Flat:
    """Backgrounds of one value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return torch.full((count, *shape), self.value)


class Lamp(TrainableSource):
    """Backgrounds of one brightness, which can be trained."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.brightness = nn.Parameter(torch.tensor(0.5))
        self.age = 0

    def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        return self.brightness.expand(count, *shape)

    def advance(self, generator: torch.Generator) -> list[nn.Parameter]:
        self.age += 1
        return [self.brightness] if self.age == 2 else []


@settings(max_examples=50, deadline=None)
@given(
    weights=st.lists(st.floats(0.01, 100), min_size=1, max_size=5), count=st.integers(1, 40), seed=st.integers(0, 99)
)
def test_a_batch_is_shared_out_by_the_weights_to_the_nearest_whole_image(
    weights: list[float], count: int, seed: int
) -> None:
    values = [index / 10 for index in range(len(weights))]
    backgrounds = Mixture([Flat(value) for value in values], weights).sample(count, (2, 3, 4), _seeded(seed))
    assert backgrounds.shape == (count, 2, 3, 4)
    counted = Counter(round(10 * value) for value in backgrounds[:, 0, 0, 0].tolist())
    assert sum(counted.values()) == count
    for index, weight in enumerate(weights):
        assert abs(counted[index] - count * weight / sum(weights)) < 1 + 1e-6


def test_single_images_get_each_source_as_often_as_its_weight_says() -> None:
    mixture, generator = Mixture([Flat(0.0), Flat(1.0)], [3, 1]), _seeded()
    drawn = torch.cat([mixture.sample(1, (1, 1, 1), generator) for _ in range(2000)])
    assert drawn.mean().item() == pytest.approx(0.25, abs=0.03)


def test_the_places_in_a_batch_are_shuffled() -> None:
    mixture, generator = Mixture([Flat(0.0), Flat(1.0)], [1, 1]), _seeded()
    draws = torch.stack([mixture.sample(8, (1, 1, 1), generator).flatten() for _ in range(500)])
    torch.testing.assert_close(draws.mean(dim=0), torch.full((8,), 0.5), atol=0.08, rtol=0)


def test_every_source_climbs_at_its_own_rate_and_grows_older() -> None:
    lamps = [Lamp(0.25), Lamp(0.125)]
    mixture = Mixture([lamps[0], Flat(0.0), lamps[1]], [1, 1, 1])
    optimizer = make_optimizer(mixture)
    assert optimizer is not None
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.125]
    assert list(mixture.advance(_seeded())) == []
    assert [id(parameter) for parameter in mixture.advance(_seeded())] == [id(lamp.brightness) for lamp in lamps]


def test_a_copy_trains_the_sources_it_samples() -> None:
    copied = copy.deepcopy(Mixture([Lamp(0.1)], [1]))
    copied.sample(2, (1, 2, 2), _seeded()).sum().backward()
    assert next(copied.parameters()).grad is not None


def _train(wrapper: AdversarialBackground, steps: int) -> list[Tensor]:
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.01)
    wrapper.attach(optimizer)
    images, masks = torch.rand(32, 1, 16, 16, generator=_seeded(3)), torch.zeros(32, 1, 16, 16)
    masks[..., 4:12, 4:12] = 1
    outputs = []
    for _ in range(steps):
        outputs.append(wrapper(images, mask=masks))
        outputs[-1].square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return outputs


def _wrapper() -> AdversarialBackground:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    mixture = [("adversarial", 2), ("random", 1), (Flat(0.5), 1)]
    return AdversarialBackground(model, background=mixture, schedule=Schedule(classifier=0, mask=0))


def test_a_mixture_climbs_in_a_training_and_goes_on_bit_for_bit_from_a_checkpoint() -> None:
    whole = _train(_wrapper(), 6)
    first = _wrapper()
    _train(first, 3)
    second = _wrapper()
    second.model.load_state_dict(first.model.state_dict())
    second.companions.load_state_dict(first.companions.state_dict())
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(_train(second, 3), whole[3:], strict=True))
    climbing = [parameter for parameter in first.companions.source.parameters() if parameter.requires_grad]
    assert first.companions.background_optimizer.state[climbing[0]]["step"] > 0


def test_a_state_of_other_weights_is_refused() -> None:
    first = _wrapper()
    _train(first, 1)
    other = AdversarialBackground(first.model, background=[("adversarial", 1), ("random", 1)])
    with pytest.raises(RuntimeError, match=r"'2 adversarial \+ 1 random \+ 1 Flat', but these .* '1 adv"):
        other.companions.load_state_dict(first.companions.state_dict())


@pytest.mark.parametrize(
    ("background", "error", "message"),
    [
        ([], ValueError, r"`weights` \(=\(\)\) must be numbers over 0"),
        ([("adversarial", 0)], ValueError, r"`weights` \(=\(0,\)\) must be numbers over 0"),
        ([("black", 1), ("noise", float("nan"))], ValueError, "must be numbers over 0"),
        ([("forest", 1)], ValueError, r"`background` \(='forest'\) must be one of adversarial"),
        (["adversarial", "noise"], TypeError, "must mix pairs of a source and its weight, got 'adversarial'"),
        (["ab"], TypeError, "must mix pairs of a source and its weight, got 'ab'"),
        ([(object(), 1)], TypeError, "must have a method `sample"),
    ],
)
def test_what_is_no_mixture_is_refused_before_there_are_images(
    background: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_background(background)


def test_a_weight_for_each_source_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"`weights` \(=\(1, 2\)\) must be one for each of the 1 sources"):
        Mixture([Flat(0.0)], [1, 2])


def test_a_rare_source_of_ones_own_is_looked_at_when_it_is_drawn_from() -> None:
    mixture, generator = Mixture([Flat(0.5), Flat(200.0)], [9, 1]), _seeded()

    def draw(batches: int) -> None:
        for _ in range(batches):
            mixture.sample(1, (1, 2, 2), generator)

    draw(1)
    with pytest.raises(ValueError, match=r"Flat\.sample made backgrounds that range over \[200, 200\]"):
        draw(500)


def test_a_source_that_makes_other_shapes_is_named_within_a_mixture() -> None:
    class Small:
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return torch.zeros(count, 1, 2, 2)

    with pytest.raises(ValueError, match=r"Small\.sample made backgrounds of shape \(2, 1, 2, 2\), expected \(2, 3,"):
        Mixture([Flat(0.5), Small()], [1, 1]).sample(4, (3, 8, 8), _seeded())


def test_a_source_that_grows_older_may_say_nothing() -> None:
    class Silent(TrainableSource):
        def __init__(self) -> None:
            super().__init__()
            self.brightness, self.age = nn.Parameter(torch.tensor(0.5)), 0

        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return self.brightness.expand(count, *shape)

        def advance(self, generator: torch.Generator) -> None:
            self.age += 1

    for background in (Silent(), [(Silent(), 1), ("noise", 1)]):
        wrapper = AdversarialBackground(
            nn.Conv2d(1, 1, 1), background=background, schedule=Schedule(0, 0), mask_generator="nonzero"
        )
        optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
        wrapper.attach(optimizer)
        images = torch.zeros(4, 1, 8, 8)
        images[..., 2:6, 2:6] = 1
        wrapper(images).sum().backward()
        optimizer.step()
    assert wrapper.companions.step_count == 1


def test_mixtures_are_read_from_command_lines(tmp_path) -> None:
    from PIL import Image

    folder = tmp_path / "a=b"
    folder.mkdir()
    Image.new("L", (8, 8), 255).save(folder / "white.png")
    mixed = parse_background(f"adversarial,noise=2.5,{folder}=1", "--background")
    assert background_name(mixed) == "1 adversarial + 2.5 noise + 1 Photographs"
    assert parse_background("random", "--background") == "random"
    assert parse_background("random=2", "--background") == [("random", 2.0)]
    alone = parse_background(str(folder), "--background")
    assert isinstance(alone, Photographs)
    white = make_source(alone, (1, 4, 4), _seeded()).sample(2, (1, 4, 4), _seeded())
    assert white.min().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adversarial,forest", r"`--background` \(='forest' in 'adversarial,forest'\) must be one of"),
        ("adversarial=x,noise", r"has the weight 'x', not a number over 0"),
        ("adversarial=-1,noise", r"has the weight '-1', not a number over 0"),
        ("adversarial,", r"\(='' in"),
        ("adversarial=0", r"has the weight '0', not a number over 0"),
        ("forest=1", r"`--background` \(='forest' in 'forest=1'\) must be one of"),
    ],
)
def test_a_command_line_that_is_wrong_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_background(text, "--background")


def test_a_folder_without_photographs_is_refused_by_the_name_of_the_flag(tmp_path) -> None:
    for text in (str(tmp_path), f"noise=1,{tmp_path}=2"):
        with pytest.raises(ValueError, match=rf"`--background` \(='{tmp_path}'\) has no images"):
            parse_background(text, "--background")


def test_a_mixture_is_the_librarys_own_only_where_all_of_its_sources_are() -> None:
    assert is_ours("noise")
    assert is_ours([("noise", 1), ("black", 2)])
    for background in (Flat(0.5), [("noise", 1), (Flat(0.5), 1)], [(Flat(0.5), 1), ("noise", 1)]):
        assert not is_ours(background)


def test_a_module_that_does_not_grow_older_is_left_as_it_is() -> None:
    class Constant(nn.Module):
        def sample(self, count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
            return torch.zeros(count, *shape)

    lamp = Lamp(0.1)
    assert list(Mixture([Constant(), lamp], [1, 1]).advance(_seeded())) == []
    assert lamp.age == 1


def test_rounded_shares_leave_no_image_without_a_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advbg.backgrounds.mixture.draw_number", lambda _: 0.0)
    # In floats, ten tenths sum to less than 1.
    assert len(Mixture([Flat(0.5)] * 10, [1.0] * 10).sample(10, (1, 2, 2), _seeded())) == 10

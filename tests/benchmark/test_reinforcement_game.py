"""The game of the demonstration of reinforcement learning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env

from advbg.benchmark.demonstrations.catch import ACTIONS, LEFT, RIGHT, STAY, Catch
from advbg.benchmark.demonstrations.playing import changed_scenes, watch


def _play(game, choose, seed=0):
    observation, info = game.reset(seed=seed)
    rewards, observations, ended = [], [observation], False
    while not ended:
        observation, reward, ended, _, info = game.step(choose(observation, info))
        rewards.append(reward)
        observations.append(observation)
    return rewards, observations


def _follow(observation, info):
    """Go where the ball is; it is the topmost white thing on black."""
    white = observation[0] == 255
    ball = white & (np.arange(32) < 27)[:, None]
    paddle = white & (np.arange(32) >= 27)[:, None]
    distance = ball.nonzero()[1].mean() - paddle.nonzero()[1].mean()
    return STAY if abs(distance) < 3 else RIGHT if distance > 0 else LEFT


def test_gymnasium_finds_no_fault_with_the_game():
    check_env(Catch(), skip_render_check=True)


def test_an_episode_takes_the_stated_steps():
    rewards, _ = _play(Catch(balls=3), lambda *_: STAY)
    assert len(rewards) == 3 * Catch.steps_per_ball


def test_who_follows_the_ball_catches_all_and_who_stays_catches_few():
    followed = [sum(_play(Catch(), _follow, seed)[0]) for seed in range(20)]
    stayed = [sum(_play(Catch(), lambda *_: STAY, seed)[0]) for seed in range(20)]
    assert np.mean(followed) == pytest.approx(1.0)
    assert np.mean(stayed) < 0.6


def test_the_same_seed_gives_the_same_game():
    random = np.random.default_rng(0)
    actions = random.integers(len(ACTIONS), size=5 * Catch.steps_per_ball)
    games = []
    for seed in (1, 1, 2):
        moves = iter(actions)
        games.append(_play(Catch(), lambda *_: next(moves), seed))  # noqa: B023
    assert all(np.array_equal(a, b) for a, b in zip(games[0][1], games[1][1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(games[0][1], games[2][1], strict=True))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(ACTIONS), max_size=30))
def test_the_mask_is_where_ball_and_paddle_are_and_all_else_is_the_scene(seed, actions):
    scene = np.random.default_rng(seed).random((32, 32))
    plain, changed = Catch(), Catch(scene=scene)
    seen, info = plain.reset(seed=seed)
    seen_before_scene, same = changed.reset(seed=seed)
    for action in actions:
        seen, _, _, _, info = plain.step(action)
        seen_before_scene, _, _, _, same = changed.step(action)
    mask = info["mask"]
    assert np.array_equal(mask, same["mask"])
    assert not seen[0][~mask].any()
    assert np.array_equal(seen[0][mask], seen_before_scene[0][mask])
    assert np.array_equal(seen_before_scene[0][~mask], np.round(255 * scene).astype(np.uint8)[~mask])
    rows, columns = seen[0].nonzero()
    for down, right in ((2, 0), (-2, 0), (0, 2), (0, -2), (1, 1), (-1, -1)):
        inside = (rows + down >= 0) & (rows + down < 32) & (columns + right >= 0) & (columns + right < 32)
        assert mask[rows[inside] + down, columns[inside] + right].all(), "the rim is 2 pixels wide"
    assert seen[0].any()
    assert mask.mean() < 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"balls": 0}, r"`balls` \(=0\)"),
        ({"scene": np.zeros((31, 32))}, r"`scene` has shape \(31, 32\)"),
        ({"scene": np.full((32, 32), 1.5)}, r"`scene` has values from 1.5 to 1.5"),
        ({"scene": np.full((32, 32), np.nan)}, "`scene` has values"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Catch(**arguments)


def test_changed_scenes_are_the_papers_and_those_of_the_reported_half():
    scenes = changed_scenes()
    assert list(scenes)[:6] == ["stripes", "board", "border", "circles", "clock", "random"]
    assert len(scenes) == 36
    assert all(scene.shape == (32, 32) and 0 <= scene.min() < scene.max() <= 1 for scene in scenes.values())


def test_pictures_of_the_same_games_differ_in_their_scenes_alone():
    plain = watch([None, None], seed=3)
    white = watch([np.ones((32, 32))] * 2, seed=3)
    assert plain.shape == (2, 1, 32, 32)
    assert ((plain == white) | ((plain == 0) & (white == 1))).all()
    assert not (plain[0] == plain[1]).all()

"""Let agents play before a scene, many games at a time."""

from functools import partial

import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from jaxtyping import Float
from torch import Tensor

from advbg.backgrounds.patterns import PATTERNS
from advbg.benchmark.demonstrations.catch import SIZE, STAY, Catch
from advbg.benchmark.demonstrations.ppo import Agent, as_images
from advbg.benchmark.held_out import make_held_out


def make_environments(count: int, balls: int, scene: np.ndarray | None = None) -> SyncVectorEnv:
    """Make games that end together and are started again by hand."""
    return SyncVectorEnv([partial(Catch, balls, scene)] * count, autoreset_mode=AutoresetMode.DISABLED)


def changed_scenes() -> dict[str, np.ndarray]:
    """Scenes that no method trains on: the paper's six, and those of the benchmark's held-out half that is reported.

    Returns:
        Grey values in [0, 1] of shape (32, 32).
    """
    scenes = {name: draw(SIZE) for name, draw in PATTERNS.items()}
    # Other games at half their size are among the held-out scenes.
    pixels, _ = make_environments(40, 1).reset(seed=0)
    scenes |= make_held_out(as_images(pixels)).report
    return {name: scene.numpy() for name, scene in scenes.items()}


@torch.no_grad()
def mean_return(agent: Agent, episodes: int, balls: int, scene: np.ndarray | None, seed: int) -> float:
    """Let an agent play with its most probable actions.

    Args:
        agent: in evaluation mode.
        episodes: how many.
        balls: in each of them.
        scene: behind the game, as `Catch` takes it.
        seed: of the episodes.

    Returns:
        The mean share of balls that are caught, in [0, 1].
    """
    environments = make_environments(episodes, balls, scene)
    pixels, _ = environments.reset(seed=seed)
    total, done = np.zeros(episodes), np.zeros(episodes, dtype=bool)
    while not done.all():
        actions = agent(as_images(pixels))[0].argmax(dim=1).numpy()
        pixels, rewards, done, _, _ = environments.step(actions)
        total += rewards
    return float(total.mean())


def watch(scenes: list[np.ndarray | None], seed: int) -> Float[Tensor, "scenes 1 32 32"]:
    """Take one picture before each scene, the ball a step lower in each; the same games for the same seed.

    Args:
        scenes: as `Catch` takes them.
        seed: of the first game; those that follow have the seeds that follow.
    """
    pictures = []
    for index, scene in enumerate(scenes):
        game = Catch(balls=len(scenes), scene=scene)
        picture, _ = game.reset(seed=seed + index)
        for _ in range(index):
            picture, *_ = game.step(STAY)
        pictures.append(picture)
    return as_images(np.stack(pictures))

"""Reinforcement learning from pixels: what an agent keeps of its return when the scene behind the game changes."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from advbg.benchmark.demonstrations.playing import changed_scenes, make_environments, mean_return
from advbg.benchmark.demonstrations.ppo import collect
from advbg.benchmark.demonstrations.reinforcement_figure import draw_observations
from advbg.benchmark.demonstrations.reinforcement_recipe import Recipe
from advbg.benchmark.demonstrations.reinforcement_training import Training
from advbg.benchmark.mask_quality import rate_companions
from advbg.benchmark.training import Progress

# Of the episodes of the test, the same for every agent.
_TEST_SEED = 20202


class Reinforcement:
    """The demonstration: `Catch` learned before black, played before other scenes.

    Args:
        recipe: how agents are trained and tested.
    """

    name = "reinforcement"
    measure = "mean return"
    higher_is_better = True
    description = (
        "PPO learns to catch falling things from pictures of a game (Gymnasium, 32 pixels). One draw of backgrounds "
        "for each rollout is replayed in its update. Masks are learned from the pictures alone; return is the share "
        "of things that are caught. Generators of backgrounds climb in every step and live for ten updates, since a "
        "draw is used for all of one."
    )

    def __init__(self, recipe: Recipe | None = None) -> None:
        self.recipe = recipe or Recipe()

    def settings(self) -> dict[str, Any]:
        """The recipe."""
        return asdict(self.recipe)

    def train_and_test(
        self, method: str, seed: int, state_file: Path, report: Callable[[Progress], None]
    ) -> dict[str, Any]:
        """Train an agent, going on from `state_file` where there is one, and let it play before every scene.

        Args:
            method: `baseline` (PPO) or `proposal` (PPO with `AdversarialBackground`, masks learned from observations).
            seed: of everything random in the training.
            state_file: written every few updates.
            report: called after every update.

        Returns:
            `clean` and, by the scene's name, `changed`: mean returns in [0, 1]; `seconds` of training and, in
            `phase_seconds`, of each phase; for the proposal also `mask_quality`, of learned masks against what the
            simulator draws (without its black rim, which cannot be seen before black).

        Raises:
            DamagedStateError: where `state_file` is damaged or of another run.
            ValueError: where the method is another.
        """
        training = Training(method, seed, self.recipe)
        training.run(state_file, report)
        balls = self.recipe.test_balls
        result: dict[str, Any] = {
            "clean": mean_return(training.agent, self.recipe.clean_episodes, balls, None, _TEST_SEED),
            "changed": {
                name: mean_return(training.agent, self.recipe.changed_episodes, balls, scene, _TEST_SEED)
                for name, scene in changed_scenes().items()
            },
            "seconds": sum(training.seconds.values()),
            "phase_seconds": training.seconds,
        }
        if training.wrapper is not None:
            played = collect(training.agent, make_environments(32, balls), torch.Generator().manual_seed(_TEST_SEED))
            images = played.observations.flatten(0, 1)
            result["mask_quality"] = asdict(rate_companions(training.wrapper.companions, images))
        return result

    def draw(self, seed: int, state_files: dict[str, Path], path: Path) -> None:
        """Draw pictures of the game with what the proposal made of them, and the same before changed scenes.

        Args:
            seed: of the training.
            state_files: that of the proposal counts, at the end of its training.
            path: of the PNG.

        Raises:
            DamagedStateError: where the state is not there, damaged or of another run.
        """
        training = Training("proposal", seed, self.recipe)
        training.load(state_files["proposal"])
        assert training.wrapper is not None  # the proposal has one
        draw_observations(training.wrapper.companions, path)

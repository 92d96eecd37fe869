"""Train an agent, with and without other scenes, and go on bit for bit."""

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from advbg.backgrounds import GeneratorPopulation
from advbg.benchmark.demonstrations.catch import ACTIONS, Catch
from advbg.benchmark.demonstrations.playing import make_environments
from advbg.benchmark.demonstrations.ppo import Agent, collect, minibatches, update
from advbg.benchmark.demonstrations.protocol import METHODS
from advbg.benchmark.demonstrations.reinforcement_recipe import Recipe
from advbg.benchmark.training import Progress
from advbg.files import DamagedStateError, save_state
from advbg.schedule import Schedule
from advbg.wrapper import AdversarialBackground

# Updates from birth to death of the backgrounds that climb, once in each: as many climbs as the default's.
LIFETIME = 10


class Training:
    """An agent and everything of its training that changes, which a file can hold.

    Args:
        method: one of `METHODS`.
        seed: of everything random.
        recipe: how to train.

    Attributes:
        agent: policy and value function.
        wrapper: around it, or None for the baseline.
        seconds: of training for each phase, over all the sessions that it took.
        updates_done: of the recipe's.

    Raises:
        ValueError: where the method is another.
    """

    def __init__(self, method: str, seed: int, recipe: Recipe) -> None:
        if method not in METHODS:
            raise ValueError(f"`method` (={method!r}) must be one of {', '.join(METHODS)}")
        self.method, self.seed, self.recipe = method, seed, recipe
        rollout = recipe.environments * recipe.balls * Catch.steps_per_ball
        self.steps_per_update = recipe.epochs * -(-rollout // recipe.batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.agent = Agent(1, len(ACTIONS))
        self.wrapper: AdversarialBackground | None = None
        if method == "proposal":
            classifier, mask, _ = (count * self.steps_per_update for count in recipe.updates)
            self.wrapper = AdversarialBackground(
                self.agent,
                task="reinforcement",
                schedule=Schedule(classifier, mask),
                background=GeneratorPopulation(
                    channels=1,
                    generator=torch.Generator().manual_seed(seed),
                    lifetime=LIFETIME * self.steps_per_update,
                    climb_every=1,
                ),
                seed=seed,
            )
        self.forward = self.wrapper or self.agent
        self.optimizer = torch.optim.Adam(self.forward.parameters(), lr=recipe.learning_rate, fused=True)
        # Down to 0 in a straight line, as is usual for PPO: the end of a training does not hang on its last rollouts.
        self.scheduler = torch.optim.lr_scheduler.PolynomialLR(self.optimizer, total_iters=sum(recipe.updates))
        if self.wrapper is not None:
            self.wrapper.attach(self.optimizer)
        self.generator = torch.Generator().manual_seed(seed)
        self.environments = make_environments(recipe.environments, recipe.balls)
        self.seconds: dict[str, float] = {}
        self.updates_done = 0

    @property
    def phase(self) -> str:
        """The wrapper's phase; `plain` for the baseline."""
        return self.wrapper.phase if self.wrapper is not None else "plain"

    def run(self, state_file: Path, report: Callable[[Progress], None]) -> None:
        """Train to the end, from where `state_file` was written if it is there."""
        if state_file.exists():
            self.load(state_file)
        recipe, total = self.recipe, sum(self.recipe.updates)
        self.forward.train()
        for done in range(self.updates_done + 1, total + 1):
            began, phase = time.perf_counter(), self.phase
            rollout = collect(self.forward, self.environments, self.generator)
            batches = minibatches(rollout, recipe.epochs, recipe.batch_size, self.generator)
            loss = update(self.forward, self.optimizer, rollout, batches)
            self.scheduler.step()
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began
            self.updates_done = done
            if done % recipe.save_every == 0 or done == total:
                self.save(state_file)
            mask_loss = self.wrapper.companions.mask_loss if self.wrapper is not None else None
            report(
                Progress(
                    method=self.method,
                    phase=phase,
                    step=done * self.steps_per_update,
                    total_steps=total * self.steps_per_update,
                    loss=loss,
                    mask_loss=mask_loss.item() if mask_loss is not None else None,
                )
            )
        self.forward.eval()

    def save(self, file: Path) -> None:
        """Write the state after an update; episodes begin anew with every rollout, so the games have none."""
        state = {
            "row": self._row(),
            "parts": {name: part.state_dict() for name, part in self._parts().items()},
            "generator": self.generator.get_state(),
            "seconds": self.seconds,
            "updates_done": self.updates_done,
        }
        save_state(state, file)

    def load(self, file: Path) -> None:
        """Go on from a file.

        Raises:
            DamagedStateError: where it is damaged or of another training.
        """
        try:
            state = torch.load(file, weights_only=True)
            if state["row"] != self._row():
                raise ValueError(f"it is of {state['row']}, expected {self._row()}")
            for name, part in self._parts().items():
                part.load_state_dict(state["parts"][name])
            self.generator.set_state(state["generator"])
            self.seconds, self.updates_done = state["seconds"], state["updates_done"]
        except Exception as error:
            raise DamagedStateError(
                f"{file} is damaged or of another run: remove it to train this row again"
            ) from error

    def _row(self) -> dict[str, Any]:
        return {"method": self.method, "seed": self.seed} | asdict(self.recipe)

    def _parts(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"agent": self.agent, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return parts | ({"companions": self.wrapper.companions} if self.wrapper is not None else {})

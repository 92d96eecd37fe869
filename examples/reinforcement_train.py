"""Train a PPO agent that does not mind the scene behind its game: `python examples/reinforcement_train.py`."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from advbg import AdversarialBackground, Schedule
from advbg.benchmark.demonstrations.catch import ACTIONS, Catch
from advbg.benchmark.demonstrations.playing import changed_scenes, make_environments, mean_return
from advbg.benchmark.demonstrations.ppo import Agent, collect, minibatches, update


def main(arguments: Sequence[str] | None = None) -> Agent:
    """Train, play before another scene and save `agent.pt`, a plain state of the agent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/reinforcement"), help="folder for the agent")
    parser.add_argument("--environments", type=int, default=160, help="that run beside each other")
    parser.add_argument("--balls", type=int, default=2, help="in an episode")
    parser.add_argument("--updates", type=int, nargs=3, default=(12, 3, 60), help="of the three phases")
    parser.add_argument("--epochs", type=int, default=3, help="of an update over its rollout")
    parser.add_argument("--batch-size", type=int, default=320)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    options = parser.parse_args(arguments)

    classifier, mask, adversarial = options.updates
    rollout_size = options.environments * options.balls * Catch.steps_per_ball
    steps_per_update = options.epochs * math.ceil(rollout_size / options.batch_size)
    agent = Agent(channels=1, actions=len(ACTIONS))
    # Phases end with whole updates, so that a rollout and its update see the same.
    schedule = Schedule(classifier * steps_per_update, mask * steps_per_update)
    wrapper = AdversarialBackground(agent, task="reinforcement", background="random", schedule=schedule)
    optimizer = torch.optim.Adam(wrapper.parameters(), lr=options.learning_rate)
    wrapper.attach(optimizer)

    environments, generator = make_environments(options.environments, options.balls), torch.Generator().manual_seed(0)
    for number in range(classifier + mask + adversarial):
        rollout = collect(wrapper, environments, generator)
        batches = minibatches(rollout, options.epochs, options.batch_size, generator)
        loss = update(wrapper, optimizer, rollout, batches)
        print(f"update {number}, {wrapper.phase}: mean return {rollout.mean_return:.2f}, loss {loss:.3f}")

    scene = changed_scenes()["photograph-1"]
    print(f"before a photograph: {mean_return(agent.eval(), 100, options.balls, scene, seed=1):.2f}")
    options.output.mkdir(parents=True, exist_ok=True)
    torch.save(agent.state_dict(), options.output / "agent.pt")
    return agent


if __name__ == "__main__":
    main()

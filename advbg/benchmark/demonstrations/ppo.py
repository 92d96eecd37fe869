"""Proximal policy optimisation (Schulman et al. 2017) that replays the backgrounds of a rollout in its update."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from advbg.compositing import CompositeParameters
from advbg.wrapper import AdversarialBackground

try:
    from gymnasium.vector import VectorEnv
except ImportError as error:
    raise ImportError("the demonstration of PPO needs Gymnasium: pip install advbg[demonstrations]") from error

DISCOUNT = 0.9
GAE_DECAY = 0.9
CLIP = 0.2
VALUE_WEIGHT = 0.5
ENTROPY_WEIGHT = 0.01
GRADIENT_NORM = 0.5


class Agent(nn.Module):
    """A small convolutional policy and value function.

    Args:
        channels: of the observations, which are square with a side of 32 pixels.
        actions: how many there are.
    """

    def __init__(self, channels: int, actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 16, 128),
            nn.ReLU(),
        )
        self.actor, self.critic = nn.Linear(128, actions), nn.Linear(128, 1)

    def forward(
        self, observations: Float[Tensor, "batch channel 32 32"]
    ) -> tuple[Float[Tensor, "batch actions"], Float[Tensor, "batch"]]:
        """Logits of the policy, and values; observations are pixels in [0, 1]."""
        features = self.body(observations)
        return self.actor(features), self.critic(features)[:, 0]


@dataclass(frozen=True)
class Rollout:
    """One episode of every environment.

    Attributes:
        observations: pixels in [0, 1], before their own scene.
        masks: what the wrapper takes for the objects; they stay as they are in the adversarial phase, so that the
            update need not find them again. None before that phase.
        actions: that were taken.
        log_probs: of these actions, when they were taken.
        values: as the agent saw them then.
        rewards: what followed.
        params: the draw of backgrounds for each environment, which still carries the graph to what made them; None
            before the adversarial phase.
    """

    observations: Float[Tensor, "steps environments channel height width"]
    masks: Float[Tensor, "steps environments 1 height width"] | None
    actions: Int[Tensor, "steps environments"]
    log_probs: Float[Tensor, "steps environments"]
    values: Float[Tensor, "steps environments"]
    rewards: Float[Tensor, "steps environments"]
    params: CompositeParameters | None

    @property
    def mean_return(self) -> float:
        """The mean over the environments of their episode's sum of rewards."""
        return self.rewards.sum(dim=0).mean().item()


def as_images(observations: Any) -> Float[Tensor, "batch channel height width"]:
    """Take a simulator's uint8 pixels to [0, 1]."""
    return torch.from_numpy(observations).float() / 255


def collect(forward: nn.Module, environments: VectorEnv, generator: torch.Generator) -> Rollout:
    """Play one episode in every environment; all of them take the same number of steps.

    Args:
        forward: the agent, or the wrapper around it, which draws backgrounds once for each environment.
        environments: with automatic resets disabled.
        generator: seeds the episodes and draws the actions.
    """
    pixels, _ = environments.reset(seed=int(torch.randint(2**31 - 1, (), generator=generator)))
    wrapper = forward if isinstance(forward, AdversarialBackground) and forward.phase == "adversarial" else None
    params = wrapper.companions.draw(as_images(pixels)) if wrapper is not None else None
    steps: list[dict[str, Tensor]] = []
    done = torch.zeros(environments.num_envs, dtype=torch.bool)
    while not done.all():
        step = {"observations": as_images(pixels)}
        replay = {}
        if wrapper is not None and params is not None:
            step["masks"] = wrapper.companions.foreground(step["observations"])
            replay = {"mask": step["masks"], "params": params.detach()}
        with torch.no_grad():
            logits, step["values"] = forward(step["observations"], **replay)
        log_probs = logits.log_softmax(dim=1)
        actions = torch.multinomial(log_probs.exp(), 1, generator=generator)
        pixels, rewards, terminated, _, _ = environments.step(actions[:, 0].numpy())
        done = torch.from_numpy(terminated)
        step["rewards"] = torch.from_numpy(rewards).float()
        step["actions"], step["log_probs"] = actions[:, 0], log_probs.gather(1, actions)[:, 0]
        steps.append(step)
    stacked = {name: torch.stack([step[name] for step in steps]) for name in steps[0]}
    return Rollout(**{"masks": None} | stacked, params=params)  # pyright: ignore[reportArgumentType]


def advantages_of(rollout: Rollout) -> Float[Tensor, "steps environments"]:
    """Generalised advantage estimates (Schulman et al. 2016) of whole episodes."""
    advantages = torch.zeros_like(rollout.rewards)
    advantage = next_value = torch.zeros_like(rollout.rewards[0])
    for step in reversed(range(len(rollout.rewards))):
        surprise = rollout.rewards[step] + DISCOUNT * next_value - rollout.values[step]
        advantage = advantages[step] = surprise + DISCOUNT * GAE_DECAY * advantage
        next_value = rollout.values[step]
    return advantages


def minibatches(rollout: Rollout, epochs: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Shuffle the steps of a rollout anew for every epoch; yields indices into `flatten(0, 1)`."""
    for _ in range(epochs):
        yield from torch.randperm(rollout.actions.numel(), generator=generator).split(batch_size)


def update(
    forward: nn.Module,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    batches: Iterator[Tensor],
) -> float:
    """Take one step of the optimiser for each mini-batch.

    The backgrounds of the rollout are replayed, so that the policy's ratio is 1 before the first step. That step
    replays them with their graph: what made them climbs the loss once in every update.

    Args:
        forward: the agent, or the wrapper around it.
        optimizer: of the agent.
        rollout: of the agent as it is now.
        batches: of indices, from `minibatches`.

    Returns:
        The loss of the last mini-batch.
    """
    advantages = advantages_of(rollout)
    goals = (advantages + rollout.values).flatten()
    advantages = ((advantages - advantages.mean()) / (advantages.std() + 1e-8)).flatten()
    observations, actions = rollout.observations.flatten(0, 1), rollout.actions.flatten()
    log_probs, masks, params = rollout.log_probs.flatten(), rollout.masks, rollout.params
    loss = torch.zeros(())
    for batch in batches:
        replay = {}
        if masks is not None and params is not None:
            replay = {"mask": masks.flatten(0, 1)[batch], "params": params[batch % rollout.actions.shape[1]]}
            params = params.detach()
        logits, values = forward(observations[batch], **replay)
        policy = torch.distributions.Categorical(logits=logits, validate_args=False)
        ratio = (policy.log_prob(actions[batch]) - log_probs[batch]).exp()
        gain = torch.minimum(ratio * advantages[batch], ratio.clamp(1 - CLIP, 1 + CLIP) * advantages[batch])
        errors = F.mse_loss(values, goals[batch])
        loss = VALUE_WEIGHT * errors - gain.mean() - ENTROPY_WEIGHT * policy.entropy().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(forward.parameters(), GRADIENT_NORM)
        optimizer.step()
        optimizer.zero_grad()
    return loss.item()

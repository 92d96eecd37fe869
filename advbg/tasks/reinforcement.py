"""Reinforcement learning: the draw of a rollout is replayed in its update."""

from advbg.hooks import hookimpl


class Reinforcement:
    """Logits and values are compared as a classifier's outputs are; there are no targets.

    PPO's ratio compares the policy of the update with that of the rollout, before the same backgrounds: draw once,
    `params = wrapper.generate_parameters(observations)`, and replay with `wrapper(observations, params=params)`;
    `params[indices]` are those of a mini-batch. `docs/tasks.md` has the loop.
    """

    @hookimpl
    def advbg_tasks(self) -> tuple[str, ...]:
        """The task of this plugin."""
        return ("reinforcement",)

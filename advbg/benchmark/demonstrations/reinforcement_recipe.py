"""How the agents of the demonstration are trained and tested."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How an agent is trained and tested.

    Args:
        updates: of PPO in the classifier, mask and adversarial phase; the baseline takes as many in all.
        environments: that run beside each other; a rollout is one episode of each.
        balls: in an episode of the training: with few balls and many environments, an update sees many backgrounds.
        epochs: of an update over its rollout.
        batch_size: steps of the game in a step of the optimiser.
        learning_rate: Adam's in the first update; it falls to 0 in a straight line.
        save_every: updates from one saved state to the next.
        test_balls: in an episode of the test.
        clean_episodes: of the test before black.
        changed_episodes: of the test before each changed scene.
    """

    updates: tuple[int, int, int] = (12, 3, 60)
    environments: int = 160
    balls: int = 2
    epochs: int = 3
    batch_size: int = 320
    learning_rate: float = 2e-3
    save_every: int = 5
    test_balls: int = 5
    clean_episodes: int = 200
    changed_episodes: int = 32

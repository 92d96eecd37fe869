"""One draw of backgrounds for a rollout and its update."""

import torch
from torch import Tensor, nn

from advbg import AdversarialBackground, Schedule
from tests.models import tiny_classifier

_STEPS, _ENVIRONMENTS = 3, 4


class _ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = tiny_classifier(), tiny_classifier(classes=1, seed=1)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        return self.actor(observations), self.critic(observations)[:, 0]


def _observations() -> Tensor:
    images = torch.zeros(_STEPS, _ENVIRONMENTS, 3, 24, 24)
    images[..., 6:18, 6:18] = torch.rand(_STEPS, _ENVIRONMENTS, 3, 12, 12)
    return images


def test_an_actor_and_critic_learn_masks_by_both_outputs() -> None:
    wrapper = AdversarialBackground(_ActorCritic(), task="reinforcement", schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    wrapper(_observations()[0])
    assert wrapper.phase == "mask"
    assert 0 < wrapper.companions.mask_loss < 10


def test_the_ratio_of_an_update_before_its_first_step_is_one() -> None:
    wrapper = AdversarialBackground(
        _ActorCritic(), task="reinforcement", schedule=Schedule(0, 0), mask_generator="nonzero", background="random"
    )
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    observations = _observations()
    params = wrapper.generate_parameters(observations[0])
    with torch.no_grad():
        rollout = torch.stack([wrapper(frame, params=params)[0].log_softmax(dim=1) for frame in observations])
    order = torch.randperm(_STEPS * _ENVIRONMENTS)
    for batch in order.split(5):
        frames = observations.flatten(0, 1)[batch]
        update = wrapper(frames, params=params[batch % _ENVIRONMENTS])[0].log_softmax(dim=1)
        ratio = (update - rollout.flatten(0, 1)[batch]).exp()
        torch.testing.assert_close(ratio, torch.ones_like(ratio))
    fresh = wrapper(observations[0])[0].log_softmax(dim=1)
    assert not torch.allclose(fresh, rollout[0], atol=1e-3)

"""PPO with replayed backgrounds, and the demonstration made of it."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

pytest.importorskip("gymnasium")

from advbg import AdversarialBackground, Schedule
from advbg.benchmark.demonstrations.playing import make_environments, mean_return
from advbg.benchmark.demonstrations.ppo import (
    DISCOUNT,
    GAE_DECAY,
    Agent,
    Rollout,
    advantages_of,
    collect,
    minibatches,
    update,
)
from advbg.benchmark.demonstrations.reinforcement import Reinforcement
from advbg.benchmark.demonstrations.reinforcement_recipe import Recipe
from advbg.benchmark.demonstrations.reinforcement_training import Training
from advbg.benchmark.demonstrations.running import open_demonstration, run_demonstration
from advbg.files import DamagedStateError

RECIPE = Recipe(
    updates=(1, 1, 2),
    environments=4,
    balls=1,
    epochs=2,
    batch_size=16,
    save_every=1,
    test_balls=1,
    clean_episodes=4,
    changed_episodes=1,
)


def _train(method, state_file, seed=0, recipe=RECIPE):
    training = Training(method, seed, recipe)
    training.run(state_file, lambda _: None)
    return training


def _same(first, second):
    return all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())


def _adversarial_wrapper(**options):
    torch.manual_seed(0)
    wrapper = AdversarialBackground(
        Agent(1, 3),
        task="reinforcement",
        schedule=Schedule(classifier=0, mask=0),
        mask_generator="nonzero",
        **options,
    )
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.01)
    wrapper.attach(optimizer)
    return wrapper, optimizer


@pytest.mark.parametrize("background", ["random", "adversarial"])
def test_the_ratio_is_one_before_the_first_step_of_an_update(background):
    wrapper, _ = _adversarial_wrapper(background=background)
    rollout = collect(wrapper, make_environments(6, 1), torch.Generator().manual_seed(0))
    assert rollout.params is not None
    assert rollout.masks is not None
    assert rollout.params.composited.any()
    for batch in minibatches(rollout, 1, 10, torch.Generator().manual_seed(1)):
        observations, masks = rollout.observations.flatten(0, 1)[batch], rollout.masks.flatten(0, 1)[batch]
        logits, values = wrapper(observations, mask=masks, params=rollout.params[batch % 6])
        log_probs = logits.log_softmax(dim=1).gather(1, rollout.actions.flatten()[batch, None])[:, 0]
        torch.testing.assert_close(log_probs, rollout.log_probs.flatten()[batch])
        torch.testing.assert_close(values, rollout.values.flatten()[batch])


def test_the_agent_sees_the_same_composites_in_rollout_and_update():
    wrapper, optimizer = _adversarial_wrapper(background="adversarial")
    seen = []
    wrapper.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    rollout = collect(wrapper, make_environments(6, 1), torch.Generator().manual_seed(0))
    in_rollout = torch.cat(seen)
    seen.clear()
    order = torch.randperm(len(in_rollout), generator=torch.Generator().manual_seed(1))
    update(wrapper, optimizer, rollout, iter(order.split(13)))
    assert torch.equal(torch.cat(seen), in_rollout[order])


def test_backgrounds_climb_once_in_an_update():
    wrapper, optimizer = _adversarial_wrapper(background="adversarial")
    generator = torch.Generator().manual_seed(0)
    rollout = collect(wrapper, make_environments(8, 1), generator)
    climbing = wrapper.companions.source.members[-1].head.weight
    before = climbing.detach().clone()
    batches = minibatches(rollout, 1, 32, generator)
    update(wrapper, optimizer, rollout, iter([next(batches)]))
    after = climbing.detach().clone()
    assert not torch.equal(after, before)
    update(wrapper, optimizer, replace(rollout, params=rollout.params.detach()), iter([next(batches)]))
    assert torch.equal(climbing, after)


def test_advantages_are_the_discounted_sum_of_surprises():
    torch.manual_seed(0)
    rewards, values = torch.rand(4, 2), torch.rand(4, 2)
    empty = torch.zeros(4, 2)
    rollout = Rollout(
        observations=torch.zeros(4, 2, 1, 32, 32),
        masks=None,
        actions=empty.long(),
        log_probs=empty,
        values=values,
        rewards=rewards,
        params=None,
    )
    surprises = rewards + DISCOUNT * torch.cat([values[1:], torch.zeros(1, 2)]) - values
    expected = torch.stack(
        [
            sum((DISCOUNT * GAE_DECAY) ** (later - step) * surprises[later] for later in range(step, 4))
            for step in range(4)
        ]
    )
    torch.testing.assert_close(advantages_of(rollout), expected)


def test_a_few_updates_teach_an_agent_to_catch_more():
    recipe = replace(RECIPE, updates=(5, 0, 0), environments=24, balls=3, batch_size=48, learning_rate=2e-3)
    training = Training("baseline", 0, recipe)
    before = mean_return(training.agent, 50, 2, None, seed=9)
    for _ in range(5):
        rollout = collect(training.agent, training.environments, training.generator)
        update(training.agent, training.optimizer, rollout, minibatches(rollout, 4, 48, training.generator))
    assert mean_return(training.agent, 50, 2, None, seed=9) > before + 0.15


@pytest.mark.parametrize("method", ["baseline", "proposal"])
def test_the_same_seed_trains_the_same_agent(method, tmp_path):
    agents = [_train(method, tmp_path / f"{index}.pt", seed).agent for index, seed in enumerate((0, 0, 1))]
    assert _same(agents[0], agents[1])
    assert not _same(agents[0], agents[2])


@pytest.mark.parametrize("method", ["baseline", "proposal"])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_training_goes_on_bit_for_bit(method, stop, tmp_path):
    whole = _train(method, tmp_path / "whole.pt")

    class StoppedError(Exception):
        pass

    def interrupt(progress):
        if progress.step == stop * whole.steps_per_update:
            raise StoppedError

    with pytest.raises(StoppedError):
        Training(method, 0, RECIPE).run(tmp_path / "state.pt", interrupt)
    steps = []
    resumed = Training(method, 0, RECIPE)
    resumed.run(tmp_path / "state.pt", lambda progress: steps.append(progress.step))
    assert len(steps) == sum(RECIPE.updates) - stop
    assert _same(whole.agent, resumed.agent)
    assert torch.equal(whole.generator.get_state(), resumed.generator.get_state())


@pytest.mark.parametrize(
    ("method", "seed", "recipe"),
    [("proposal", 0, RECIPE), ("baseline", 1, RECIPE), ("baseline", 0, replace(RECIPE, batch_size=15))],
)
def test_a_state_of_another_row_is_refused(method, seed, recipe, tmp_path):
    _train("baseline", tmp_path / "state.pt")
    with pytest.raises(DamagedStateError, match=r"state\.pt is damaged or of another run"):
        _train(method, tmp_path / "state.pt", seed, recipe)


def test_a_damaged_state_is_refused(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(DamagedStateError, match=r"state\.pt is damaged"):
        _train("baseline", tmp_path / "state.pt")


def test_the_demonstration_says_what_it_measured(tmp_path):
    reports = []
    demonstration = Reinforcement(RECIPE)
    assert (demonstration.name, demonstration.measure, demonstration.higher_is_better) == (
        "reinforcement",
        "mean return",
        True,
    )
    result = demonstration.train_and_test("proposal", 0, tmp_path / "state.pt", reports.append)
    assert [report.phase for report in reports] == ["classifier", "mask", "adversarial", "adversarial"]
    assert reports[-1].step == reports[-1].total_steps
    assert reports[1].mask_loss is not None
    assert 0 <= result["clean"] <= 1
    assert len(result["changed"]) == 36
    assert all(0 <= value <= 1 for value in result["changed"].values())
    assert set(result["mask_quality"]) == {"iou", "recall", "area"}
    assert result["seconds"] == pytest.approx(sum(result["phase_seconds"].values()))
    assert set(result["phase_seconds"]) == {"classifier", "mask", "adversarial"}


def test_the_figure_is_drawn_from_a_saved_state(tmp_path):
    _train("proposal", tmp_path / "state.pt")
    Reinforcement(RECIPE).draw(0, {"proposal": tmp_path / "state.pt"}, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > figure.height > 200
    with pytest.raises(DamagedStateError, match=r"missing\.pt"):
        Reinforcement(RECIPE).draw(0, {"proposal": tmp_path / "missing.pt"}, tmp_path / "figure.png")


def test_a_whole_run_of_the_demonstration_is_written_down(tmp_path):
    recipe = replace(RECIPE, clean_episodes=40, updates=(0, 1, 1))
    open_demonstration(tmp_path / "run", Reinforcement(recipe), resume=False)
    results = run_demonstration(Reinforcement(recipe), (0, 1), tmp_path / "run", lambda _, run="": None)
    assert set(results["seeds"]) == {"0", "1"}
    assert (tmp_path / "run" / "examples.png").is_file()


def test_an_unknown_method_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"`method` \(='noise'\)"):
        Reinforcement(RECIPE).train_and_test("noise", 0, tmp_path / "state.pt", lambda _: None)


def test_the_example_trains_and_saves_a_plain_agent(tmp_path, capsys):
    arguments = ["--environments", "2", "--balls", "1", "--updates", "1", "1", "1", "--batch-size", "9"]
    script = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "reinforcement_train.py"))
    script["main"]([*arguments, "--output", str(tmp_path / "run")])
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1].split(":")[0].strip() for line in printed[:3]] == ["mask", "adversarial", "adversarial"]
    assert printed[3].startswith("before a photograph: ")
    Agent(1, 3).load_state_dict(torch.load(tmp_path / "run" / "agent.pt", weights_only=True))

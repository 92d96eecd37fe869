"""The companions in Lightning's hands."""

import operator
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advbg
from advbg import Schedule
from tests.models import a_batch, tiny_classifier

pytest.importorskip("lightning")

from lightning.pytorch.callbacks import StochasticWeightAveraging
from lightning.pytorch.strategies import SingleDeviceStrategy

from tests.integrations.lightning_runs import (
    MARKS,
    SCHEDULE,
    Module,
    ValidatedModule,
    a_callback,
    a_loader,
    a_trainer,
    fit,
)

pytestmark = MARKS
_KEY = "AdversarialBackgroundCallback{'model': 'model'}"


def _hooks(model: nn.Module) -> int:
    return len(model._forward_pre_hooks)


def test_the_example_trains_in_all_phases_and_saves_a_plain_model(
    run_example: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = run_example("lightning_train", "--model", "resnet10t")
    assert trainer.callback_metrics["advbg/phase"] == 2
    state = torch.load(tmp_path / "output" / "model.pt", weights_only=True)
    trainer.lightning_module.model.load_state_dict(state)


def test_anything_callable_may_find_the_model(tmp_path: Path) -> None:
    callback = a_callback(model=operator.attrgetter("model"))
    fit(tmp_path, callback, 5)
    assert "attrgetter" in callback.state_key
    assert callback.attachment.phase == "adversarial"


def test_the_example_trains_without_us(run_example: Callable[..., Any]) -> None:
    trainer = run_example("lightning_train", "--model", "resnet10t", "--no-advbg")
    assert (trainer.global_step, "advbg/phase" in trainer.callback_metrics) == (8, False)


def test_with_the_companions_switched_off_the_run_is_the_plain_run(tmp_path: Path) -> None:
    _, plain = fit(tmp_path, None, 4)
    _, off = fit(tmp_path, a_callback(schedule=Schedule(classifier=1000)), 4)
    _, on = fit(tmp_path, a_callback(schedule=Schedule(classifier=0, mask=1)), 4)
    assert off.losses == plain.losses
    assert on.losses != plain.losses


@pytest.mark.parametrize("hold", [True, False])
def test_statistics_that_are_held_stay_through_every_epoch(tmp_path: Path, hold: bool) -> None:
    callback = a_callback(hold_statistics=hold)
    with pytest.warns(UserWarning, match="load pre-trained weights first") if hold else nullcontext():
        _, module = fit(tmp_path, callback, 5)
    assert callback.attachment.phase == "adversarial"
    assert (module.model[1].num_batches_tracked == 0) == hold


def test_weights_that_are_averaged_get_statistics_of_their_own(tmp_path: Path) -> None:
    trainer, module = a_trainer(tmp_path, a_callback(hold_statistics=True), 4), Module()
    trainer.callbacks.append(StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2))
    with pytest.warns(UserWarning, match="load pre-trained weights first"):
        trainer.fit(module, a_loader())
    assert module.model[1].running_mean.any()


def test_a_run_with_the_callback_is_the_plain_loop_with_attach(tmp_path: Path) -> None:
    _, module = fit(tmp_path, a_callback(), 7)
    model, (images, targets) = tiny_classifier(batch_norm=True), a_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    advbg.attach(model, optimizer, schedule=SCHEDULE)
    losses = []
    for _ in range(7):
        loss = nn.functional.cross_entropy(model(images), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert module.losses == losses


@pytest.mark.parametrize(
    "steps", [1, 2, 3, 4, 6], ids=["classifier", "to mask", "mask", "to adversarial", "adversarial"]
)
@pytest.mark.parametrize("late", [False, True], ids=["restored before", "restored after setup"])
def test_a_resumed_run_goes_on_bit_for_bit(tmp_path: Path, steps: int, late: bool) -> None:
    class Strategy(SingleDeviceStrategy):
        @property
        def restore_checkpoint_after_setup(self) -> bool:
            return late

    _, whole = fit(tmp_path, a_callback(), steps + 3)
    trainer, _ = fit(tmp_path, a_callback(), steps)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    strategy = Strategy(device="cpu")
    callback = a_callback()
    _, resumed = fit(tmp_path, callback, steps + 3, checkpoint=tmp_path / "run.ckpt", strategy=strategy)
    assert resumed.losses == whole.losses[steps:]
    assert callback.attachment.companions.step_count == steps + 3
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_checkpoint_has_the_plain_models_keys_and_the_companions_under_the_state_key(tmp_path: Path) -> None:
    plain, _ = fit(tmp_path, None, 1)
    trainer, _ = fit(tmp_path, a_callback(), 5)
    for name, one in (("plain", plain), ("ours", trainer)):
        one.save_checkpoint(tmp_path / name)
    expected, saved = (torch.load(tmp_path / name, weights_only=True) for name in ("plain", "ours"))
    assert saved["state_dict"].keys() == expected["state_dict"].keys()
    assert saved.keys() == expected.keys()
    assert saved["optimizer_states"][0]["state"].keys() == expected["optimizer_states"][0]["state"].keys()
    assert saved["callbacks"][_KEY]["_extra_state"]["step_count"] == 5


def test_each_of_several_models_has_a_callback_with_its_own_state_key() -> None:
    def the_second(module: Module) -> nn.Module:
        return module.second

    keys = {a_callback(model=model).state_key for model in ("model", "second.model", the_second)}
    assert len(keys) == 3


def test_before_the_first_fit_there_is_no_state() -> None:
    assert a_callback().state_dict() == {}


def test_the_companions_step_with_the_optimizer_not_with_the_batches(tmp_path: Path) -> None:
    callback = a_callback()
    trainer, _ = fit(tmp_path, callback, 3, batches=4, accumulate_grad_batches=2)
    assert trainer.global_step == callback.attachment.companions.step_count == 6
    assert callback.attachment.phase == "adversarial"


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_a_run_in_bfloat16_goes_through_all_phases(precision: str, tmp_path: Path) -> None:
    callback = a_callback()
    _, module = fit(tmp_path, callback, 6, precision=precision)
    assert callback.attachment.phase == "adversarial"
    assert torch.tensor(module.losses).isfinite().all()


def test_nothing_is_left_on_the_model_when_fitting_ends(tmp_path: Path) -> None:
    trainer, module = fit(tmp_path, a_callback(), 5)
    assert _hooks(module.model) == 0
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


def test_nothing_is_left_on_the_model_when_fitting_fails(tmp_path: Path) -> None:
    module, callback = Module(), a_callback()
    module.fail_at = 3
    with pytest.raises(RuntimeError, match="out of luck"):
        a_trainer(tmp_path, callback, 5).fit(module, a_loader())
    assert _hooks(module.model) == 0
    assert callback.state_dict()["_extra_state"]["step_count"] == 3


def test_validation_sees_the_images_themselves(tmp_path: Path) -> None:
    trainer, module = a_trainer(tmp_path, a_callback(schedule=Schedule(0, 1)), 3), ValidatedModule()
    trainer.fit(module, a_loader(), a_loader())
    images, targets = a_batch()
    module.model.eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(module.model(images), targets)
    torch.testing.assert_close(trainer.callback_metrics["validation_loss"], expected)


def test_phase_and_mask_loss_are_logged(tmp_path: Path) -> None:
    for epochs, phase, has_mask_loss in ((1, 0, False), (3, 1, True), (5, 2, True)):
        trainer, _ = fit(tmp_path, a_callback(), epochs)
        assert trainer.callback_metrics["advbg/phase"] == phase
        assert ("advbg/mask_loss" in trainer.callback_metrics) == has_mask_loss


def test_a_trainer_that_fits_once_more_goes_on(tmp_path: Path) -> None:
    callback = a_callback()
    trainer, module = fit(tmp_path, callback, 3)
    trainer.fit_loop.max_epochs = 5
    trainer.fit(module, a_loader())
    assert callback.attachment.companions.step_count == trainer.global_step == 5


def test_another_trainer_starts_afresh_with_the_same_callback(tmp_path: Path) -> None:
    callback = a_callback()
    _, first = fit(tmp_path, callback, 5)
    _, second = fit(tmp_path, callback, 5)
    assert second.losses == first.losses


def test_a_model_within_the_module_may_be_named_or_found(tmp_path: Path) -> None:
    _, expected = fit(tmp_path, a_callback(), 5)
    _, found = fit(tmp_path, a_callback(model=lambda module: module.get_submodule("model")), 5)
    assert found.losses == expected.losses


def test_testing_a_checkpoint_leaves_nothing_to_the_next_fit(tmp_path: Path) -> None:
    class TestedModule(Module):
        def test_step(self, batch: list[Tensor]) -> None:
            self.model(batch[0])

    callback = a_callback()
    trainer, _ = fit(tmp_path, callback, 5)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    a_trainer(tmp_path, callback, 5).test(TestedModule(), a_loader(), ckpt_path=tmp_path / "run.ckpt", verbose=False)
    _, again = fit(tmp_path, callback, 5)
    assert again.losses == fit(tmp_path, a_callback(), 5)[1].losses

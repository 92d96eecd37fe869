"""The companions in Lightning's hands."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import advbg
from advbg import Schedule
from tests.models import a_batch, tiny_classifier

lightning = pytest.importorskip("lightning")

from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy  # noqa: E402
from lightning.pytorch.tuner import Tuner  # noqa: E402

from advbg.integrations.lightning import AdversarialBackgroundCallback  # noqa: E402

pytestmark = [
    # Lightning's own use of torch.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
    # What Lightning thinks of this machine and of so short a run.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]
_SCHEDULE = Schedule(classifier=2, mask=2)
_KEY = "AdversarialBackgroundCallback{'model': 'model'}"


class Module(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = tiny_classifier(batch_norm=True)
        self.losses: list[float] = []
        self.fail_at = -1

    def training_step(self, batch: list[Tensor]) -> Tensor:
        if self.global_step == self.fail_at:
            raise RuntimeError("out of luck")
        images, targets = batch
        loss = nn.functional.cross_entropy(self.model(images), targets)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


class ValidatedModule(Module):
    def validation_step(self, batch: list[Tensor]) -> None:
        images, targets = batch
        self.log("validation_loss", nn.functional.cross_entropy(self.model(images), targets))


def _trainer(folder: Path, callback: Any | None, epochs: int, **options: Any) -> Any:
    defaults = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    callbacks = [] if callback is None else [callback]
    return lightning.Trainer(
        **(defaults | options),
        max_epochs=epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        enable_checkpointing=False,
    )


def _loader(batches: int = 1) -> DataLoader:
    images, targets = a_batch(count=8 * batches)
    return DataLoader(TensorDataset(images, targets), batch_size=8)


def _fit(
    folder: Path, callback: Any | None, epochs: int, *, batches: int = 1, checkpoint: Path | None = None, **options: Any
) -> tuple[Any, Module]:
    trainer, module = _trainer(folder, callback, epochs, **options), Module()
    trainer.fit(module, _loader(batches), ckpt_path=checkpoint)
    return trainer, module


def _callback(**options: Any) -> AdversarialBackgroundCallback:
    return AdversarialBackgroundCallback(**({"schedule": _SCHEDULE} | options))


def _hooks(model: nn.Module) -> int:
    return len(model._forward_pre_hooks)


def test_the_example_trains_in_all_phases_and_saves_a_plain_model(
    run_example: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = run_example("lightning_train", "--model", "resnet10t")
    assert trainer.callback_metrics["advbg/phase"] == 2
    state = torch.load(tmp_path / "output" / "model.pt", weights_only=True)
    trainer.lightning_module.model.load_state_dict(state)


def test_the_example_trains_without_us(run_example: Callable[..., Any]) -> None:
    trainer = run_example("lightning_train", "--model", "resnet10t", "--no-advbg")
    assert (trainer.global_step, "advbg/phase" in trainer.callback_metrics) == (8, False)


def test_with_the_companions_switched_off_the_run_is_the_plain_run(tmp_path: Path) -> None:
    _, plain = _fit(tmp_path, None, 4)
    _, off = _fit(tmp_path, _callback(schedule=Schedule(classifier=1000)), 4)
    _, on = _fit(tmp_path, _callback(schedule=Schedule(classifier=0, mask=1)), 4)
    assert off.losses == plain.losses
    assert on.losses != plain.losses


def test_a_run_with_the_callback_is_the_plain_loop_with_attach(tmp_path: Path) -> None:
    _, module = _fit(tmp_path, _callback(), 7)
    model, (images, targets) = tiny_classifier(batch_norm=True), a_batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    advbg.attach(model, optimizer, schedule=_SCHEDULE)
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

    _, whole = _fit(tmp_path, _callback(), steps + 3)
    trainer, _ = _fit(tmp_path, _callback(), steps)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    strategy = Strategy(device="cpu")
    callback = _callback()
    _, resumed = _fit(tmp_path, callback, steps + 3, checkpoint=tmp_path / "run.ckpt", strategy=strategy)
    assert resumed.losses == whole.losses[steps:]
    assert callback.attachment.companions.step_count == steps + 3
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_a_checkpoint_has_the_plain_models_keys_and_the_companions_under_the_state_key(tmp_path: Path) -> None:
    plain, _ = _fit(tmp_path, None, 1)
    trainer, _ = _fit(tmp_path, _callback(), 5)
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

    keys = {_callback(model=model).state_key for model in ("model", "second.model", the_second)}
    assert len(keys) == 3


def test_before_the_first_fit_there_is_no_state() -> None:
    assert _callback().state_dict() == {}


def test_the_companions_step_with_the_optimizer_not_with_the_batches(tmp_path: Path) -> None:
    callback = _callback()
    trainer, _ = _fit(tmp_path, callback, 3, batches=4, accumulate_grad_batches=2)
    assert trainer.global_step == callback.attachment.companions.step_count == 6
    assert callback.attachment.phase == "adversarial"


def test_a_run_in_bfloat16_goes_through_all_phases(tmp_path: Path) -> None:
    callback = _callback()
    _, module = _fit(tmp_path, callback, 6, precision="bf16-mixed")
    assert callback.attachment.phase == "adversarial"
    assert torch.tensor(module.losses).isfinite().all()


def test_nothing_is_left_on_the_model_when_fitting_ends(tmp_path: Path) -> None:
    trainer, module = _fit(tmp_path, _callback(), 5)
    assert _hooks(module.model) == 0
    assert not trainer.optimizers[0]._optimizer_step_post_hooks


def test_nothing_is_left_on_the_model_when_fitting_fails(tmp_path: Path) -> None:
    module, callback = Module(), _callback()
    module.fail_at = 3
    with pytest.raises(RuntimeError, match="out of luck"):
        _trainer(tmp_path, callback, 5).fit(module, _loader())
    assert _hooks(module.model) == 0
    assert callback.state_dict()["_extra_state"]["step_count"] == 3


def test_validation_sees_the_images_themselves(tmp_path: Path) -> None:
    trainer, module = _trainer(tmp_path, _callback(schedule=Schedule(0, 1)), 3), ValidatedModule()
    trainer.fit(module, _loader(), _loader())
    images, targets = a_batch()
    module.model.eval()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(module.model(images), targets)
    torch.testing.assert_close(trainer.callback_metrics["validation_loss"], expected)


def test_phase_and_mask_loss_are_logged(tmp_path: Path) -> None:
    for epochs, phase, has_mask_loss in ((1, 0, False), (3, 1, True), (5, 2, True)):
        trainer, _ = _fit(tmp_path, _callback(), epochs)
        assert trainer.callback_metrics["advbg/phase"] == phase
        assert ("advbg/mask_loss" in trainer.callback_metrics) == has_mask_loss


def test_a_trainer_that_fits_once_more_goes_on(tmp_path: Path) -> None:
    callback = _callback()
    trainer, module = _fit(tmp_path, callback, 3)
    trainer.fit_loop.max_epochs = 5
    trainer.fit(module, _loader())
    assert callback.attachment.companions.step_count == trainer.global_step == 5


def test_another_trainer_starts_afresh_with_the_same_callback(tmp_path: Path) -> None:
    callback = _callback()
    _, first = _fit(tmp_path, callback, 5)
    _, second = _fit(tmp_path, callback, 5)
    assert second.losses == first.losses


def test_a_model_within_the_module_may_be_named_or_found(tmp_path: Path) -> None:
    _, expected = _fit(tmp_path, _callback(), 5)
    _, found = _fit(tmp_path, _callback(model=lambda module: module.get_submodule("model")), 5)
    assert found.losses == expected.losses


def test_a_checkpoint_saved_without_the_callback_is_not_resumed_with_it(tmp_path: Path) -> None:
    trainer, _ = _fit(tmp_path, None, 1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="the checkpoint has no state of AdversarialBackgroundCallback"):
        _fit(tmp_path, _callback(), 2, checkpoint=tmp_path / "run.ckpt")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "net"}, ValueError, r"`model` \(='net'\) must name a module within Module"),
        ({"optimizer_index": 1}, ValueError, r"`optimizer_index` \(=1\) must be one of the 1 "),
        ({"clean_share": 2.0}, ValueError, r"`clean_share` \(=2.0\)"),
        ({"colour": 1}, TypeError, "colour"),
    ],
)
def test_what_cannot_be_is_refused_before_training(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    module = Module()
    with pytest.raises(error, match=message):
        _trainer(tmp_path, _callback(**options), 1).fit(module, _loader())
    assert module.losses == []


def test_the_lightning_module_itself_is_refused_where_its_forward_is_redirected(tmp_path: Path) -> None:
    callback = _callback(model=lambda module: module)
    strategy = DDPStrategy(process_group_backend="gloo")
    trainer = _trainer(tmp_path, callback, 1, strategy=strategy, devices=1)
    with pytest.raises(ValueError, match="is the LightningModule itself, through whose forward DDPStrategy"):
        trainer.fit(Module(), _loader())


def test_without_lightning_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "advbg.integrations.lightning")
    with pytest.raises(ImportError, match=r"pip install advbg\[lightning\]"):
        importlib.import_module("advbg.integrations.lightning")


def test_testing_a_checkpoint_leaves_nothing_to_the_next_fit(tmp_path: Path) -> None:
    class TestedModule(Module):
        def test_step(self, batch: list[Tensor]) -> None:
            self.model(batch[0])

    callback = _callback()
    trainer, _ = _fit(tmp_path, callback, 5)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    _trainer(tmp_path, callback, 5).test(TestedModule(), _loader(), ckpt_path=tmp_path / "run.ckpt", verbose=False)
    _, again = _fit(tmp_path, callback, 5)
    assert again.losses == _fit(tmp_path, _callback(), 5)[1].losses


@pytest.mark.filterwarnings("ignore:.*lr_find")
def test_a_learning_rate_is_searched_and_companions_start_afresh_after_it(tmp_path: Path) -> None:
    class Searched(Module):
        lr = 1e-2

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=self.lr)

    torch.manual_seed(0)
    callback, module = _callback(), Searched()
    trainer = _trainer(tmp_path, callback, 5)
    found = Tuner(trainer).lr_find(module, _loader(), num_training=4, update_attr=False)
    assert found is not None
    module.losses.clear()
    trainer.fit(module, _loader())
    assert callback.attachment.companions.step_count == trainer.global_step == 5
    assert module.losses == _fit(tmp_path, _callback(), 5)[1].losses

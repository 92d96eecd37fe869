"""What the callback refuses, and what it says."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from lightning.pytorch.strategies import DDPStrategy

from tests.integrations.lightning_runs import MARKS, Module, a_callback, a_loader, a_trainer, fit

pytestmark = MARKS


def test_a_checkpoint_saved_without_the_callback_is_not_resumed_with_it(tmp_path: Path) -> None:
    trainer, _ = fit(tmp_path, None, 1)
    trainer.save_checkpoint(tmp_path / "run.ckpt")
    with pytest.raises(ValueError, match="the checkpoint has no state of AdversarialBackgroundCallback"):
        fit(tmp_path, a_callback(), 2, checkpoint=tmp_path / "run.ckpt")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "net"}, r"`model` \(='net'\) must name a module within Module"),
        ({"optimizer_index": 1}, r"`optimizer_index` \(=1\) must be one of the 1 "),
    ],
)
def test_what_does_not_fit_the_lightning_module_is_refused_before_training(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    module = Module()
    with pytest.raises(ValueError, match=message):
        a_trainer(tmp_path, a_callback(**options), 1).fit(module, a_loader())
    assert module.losses == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"clean_share": 2.0}, ValueError, r"`clean_share` \(=2.0\)"),
        ({"colour": 1}, TypeError, "`attach` has no option `colour`"),
    ],
)
def test_what_cannot_be_is_refused_when_the_callback_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        a_callback(**options)


def test_the_lightning_module_itself_is_refused_where_its_forward_is_redirected(tmp_path: Path) -> None:
    callback = a_callback(model=lambda module: module)
    strategy = DDPStrategy(process_group_backend="gloo")
    trainer = a_trainer(tmp_path, callback, 1, strategy=strategy, devices=1)
    with pytest.raises(ValueError, match="is the LightningModule itself, through whose forward DDPStrategy"):
        trainer.fit(Module(), a_loader())


def test_without_lightning_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "advbg.integrations.lightning")
    with pytest.raises(ImportError, match=r"pip install advbg\[lightning\]"):
        importlib.import_module("advbg.integrations.lightning")

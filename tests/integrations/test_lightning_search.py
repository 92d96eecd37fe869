"""The companions where Lightning searches for a learning rate before it fits."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch.tuner import Tuner

from tests.integrations.lightning_runs import MARKS, Module, a_callback, a_loader, a_trainer, fit

pytestmark = [*MARKS, pytest.mark.filterwarnings("ignore:.*lr_find")]


class Searched(Module):
    """A classifier with a learning rate to be found."""

    lr = 1e-2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr)


def _search(trainer: Any, module: Module) -> None:
    assert Tuner(trainer).lr_find(module, a_loader(), num_training=4, update_attr=False) is not None
    module.losses.clear()


def test_a_learning_rate_is_searched_and_companions_start_afresh_after_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    callback, module = a_callback(), Searched()
    trainer = a_trainer(tmp_path, callback, 5)
    _search(trainer, module)
    trainer.fit(module, a_loader())
    assert callback.attachment.companions.step_count == trainer.global_step == 5
    assert module.losses == fit(tmp_path, a_callback(), 5)[1].losses


def test_a_search_before_another_trainers_fit_brings_nothing_of_the_fit_before(tmp_path: Path) -> None:
    callback, module = a_callback(), Searched()
    fit(tmp_path, callback, 5)
    trainer = a_trainer(tmp_path, callback, 5)
    _search(trainer, module)
    trainer.fit(module, a_loader())
    assert callback.attachment.companions.step_count == 5
    assert module.losses == fit(tmp_path, a_callback(), 5)[1].losses


def test_a_search_after_a_fit_leaves_nothing_to_another_trainer(tmp_path: Path) -> None:
    callback, module = a_callback(), Searched()
    trainer = a_trainer(tmp_path, callback, 5)
    trainer.fit(module, a_loader())
    _search(trainer, module)
    assert fit(tmp_path, callback, 5)[1].losses == fit(tmp_path, a_callback(), 5)[1].losses


def test_a_trainer_that_searches_between_two_fits_goes_on(tmp_path: Path) -> None:
    callback, module = a_callback(), Searched()
    trainer = a_trainer(tmp_path, callback, 3)
    trainer.fit(module, a_loader())
    trainer.fit_loop.max_epochs = 5
    _search(trainer, module)
    trainer.fit(module, a_loader())
    assert callback.attachment.companions.step_count == trainer.global_step == 5

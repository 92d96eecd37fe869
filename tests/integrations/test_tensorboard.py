"""What TensorBoard gets to see."""

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from advbg import Schedule, plugin_manager
from advbg.backgrounds import GeneratorPopulation
from advbg.integrations.tensorboard import TensorBoardLogger
from tests.models import a_batch, tiny_classifier, train
from tests.plugins import attached

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed"
)


def _events(folder: Path) -> Any:
    events = event_accumulator.EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return events.Reload()


def _scalars(events: Any, name: str) -> dict[int, float]:
    return {event.step: event.value for event in events.Scalars(f"advbg/{name}")}


def test_scalars_and_pictures_of_every_so_many_steps_are_written(tmp_path: Path) -> None:
    loss = torch.zeros(())
    images, targets = a_batch()
    with TensorBoardLogger(tmp_path, every=2, shown_images=3):
        climbing = GeneratorPopulation(3, torch.Generator().manual_seed(0), climb_every=1)
        wrapper, optimizer = attached(schedule=Schedule(2, 2), clean_share=0.0, background=climbing)
        for _ in range(6):
            loss = nn.functional.cross_entropy(wrapper(images), targets)
            wrapper.companions.report(loss=loss)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    events = _events(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        f"advbg/{name}"
        for name in ("phase", "loss", "mask_loss", "mask_area", "background_mean", "background_spread", "harm")
    }
    assert _scalars(events, "loss").keys() == {2, 4, 6}
    assert _scalars(events, "loss")[6] == pytest.approx(loss.item())
    assert _scalars(events, "mask_loss").keys() == {4}
    assert _scalars(events, "harm").keys() == {6}
    phases = [(event.step, event.value) for event in events.Scalars("advbg/phase")]
    assert phases == [(0, 0), (2, 0), (2, 1), (4, 1), (4, 2), (6, 2)]
    assert set(events.Tags()["images"]) == {"advbg/images", "advbg/masks", "advbg/composites"}
    (picture,) = events.Images("advbg/images")
    assert picture.step == 6
    pixels = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
    assert pixels.shape == (32 + 4, 3 * 34 + 2, 3)
    np.testing.assert_allclose(pixels[2:34, 2:34] / 255, images[0].permute(1, 2, 0), atol=1 / 255)


def test_batches_whose_gradients_are_accumulated_are_drawn_once(tmp_path: Path) -> None:
    images, targets = a_batch()
    with TensorBoardLogger(tmp_path, every=2):
        wrapper, optimizer = attached(schedule=Schedule(0, 0), mask_generator="nonzero")
        for _ in range(4):
            for half in (slice(4), slice(4, 8)):
                nn.functional.cross_entropy(wrapper(images[half]), targets[half]).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [event.step for event in _events(tmp_path).Images("advbg/images")] == [2, 4]


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_any_number_of_channels_are_drawn(channels: int, tmp_path: Path) -> None:
    with TensorBoardLogger(tmp_path, every=1):
        wrapper, _ = attached(
            model=tiny_classifier(channels), schedule=Schedule(0, 0), mask_generator="nonzero", mean=0.5, std=0.2
        )
        wrapper((a_batch(2, channels, (16, 16))[0] - 0.5) / 0.2)
    assert len(_events(tmp_path).Tags()["images"]) == 3


def test_pictures_show_pixels_however_images_were_normalised(tmp_path: Path) -> None:
    pixels, _ = a_batch(1)
    with TensorBoardLogger(tmp_path, every=1):
        wrapper, _ = attached(
            schedule=Schedule(0, 0),
            mask_generator="nonzero",
            background="black",
            clean_share=0.0,
            halo=0.0,
            mean=(0.5, 0.4, 0.3),
            std=(0.25, 0.25, 0.25),
        )
        wrapper(wrapper.companions.pixel_space.from_pixels(pixels))
    events = _events(tmp_path)
    for name in ("images", "composites"):
        (picture,) = events.Images(f"advbg/{name}")
        shown = np.asarray(Image.open(io.BytesIO(picture.encoded_image_string)))
        np.testing.assert_allclose(shown / 255, pixels[0].permute(1, 2, 0), atol=1 / 255)


def test_the_context_unregisters_even_where_the_training_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with TensorBoardLogger(tmp_path) as logger:
            assert plugin_manager.is_registered(logger)
            loggers.append(logger)
            raise KeyboardInterrupt

    loggers: list[TensorBoardLogger] = []
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not plugin_manager.is_registered(loggers[0])


def test_a_logger_can_be_registered_by_hand(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path / "new" / "folder", every=1)
    plugin_manager.register(logger)
    train(*attached(schedule=Schedule(1, 0), mask_generator="nonzero"), 1)
    logger.close()
    logger.close()
    assert _scalars(_events(tmp_path / "new" / "folder"), "phase") == {0: 0, 1: 2}


@pytest.mark.parametrize("option", ["every", "shown_images"])
def test_a_number_under_one_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"`{option}` \(=0\) must be a whole number, 1 or more"):
        TensorBoardLogger(tmp_path, **{option: 0})
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install advbg\[tensorboard\]"):
        TensorBoardLogger(tmp_path)


def test_steps_that_were_lost_are_not_shown_beside_those_that_take_their_place(tmp_path: Path) -> None:
    for first, value in ((1, 1.0), (3, 2.0)):
        logger = TensorBoardLogger(tmp_path, every=1, purge_step=first)
        for step in range(first, first + 4):
            logger.advbg_step("classifier", step, {"loss": torch.tensor(value)})
        logger.close()
    steps = [(event.step, event.value) for event in _events(tmp_path).Scalars("advbg/loss")]
    assert steps == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 2)]

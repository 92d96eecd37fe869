"""Where to train."""

import pytest
import torch

from advbg.training.devices import choose_device, named_device


@pytest.mark.parametrize("there", [False, True])
def test_the_gpu_is_taken_if_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto") == torch.device("cuda" if there else "cpu")


def test_the_processor_is_there_whatever_else_is() -> None:
    assert choose_device("cpu") == named_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["tpu", "", "meta", "cuda:99", "auto"])
def test_a_device_that_is_not_there_is_named_in_one_sentence(name: str) -> None:
    with pytest.raises(ValueError, match=f"`device` \\(='{name}'\\) cannot be computed on: ") as raised:
        named_device(name)
    assert len(str(raised.value)) < 350
    assert "\n" not in str(raised.value)

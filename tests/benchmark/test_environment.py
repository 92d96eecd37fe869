"""What results say they were measured on."""

from importlib.metadata import PackageNotFoundError, version

import pytest
import torch

from advbg.benchmark.environment import environment, machines


def test_a_page_names_the_gpu_where_rows_were_measured_on_one_and_the_processor_elsewhere() -> None:
    cpu = {"processor": "Some CPU", "cores": 4, "threads": 2}
    results = {"machine": cpu}
    assert machines([({}, results)]) == "Some CPU, 2 of 4 cores"
    on_gpu = {"machine": cpu | {"gpu": "Some GPU"}}
    assert machines([(on_gpu, results)]) == "Some GPU"
    both = machines([({}, results), (on_gpu, results), (on_gpu, results)])
    assert both == "several machines, whose seconds do not compare (Some CPU, 2 of 4 cores; Some GPU)"


def test_no_gpu_is_named_for_what_ran_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Some GPU at {device}")
    assert environment("cuda")["machine"]["gpu"] == "Some GPU at cuda"
    assert environment(torch.device("cuda", 1))["machine"]["gpu"] == "Some GPU at cuda:1"
    assert all("gpu" not in described["machine"] for described in (environment(), environment("cpu")))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "gpu" not in environment("cuda")["machine"]


def test_a_package_that_is_not_there_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    everything = environment()["versions"]

    def version_of(name: str) -> str:
        if name == "albumentations":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("advbg.benchmark.environment.version", version_of)
    left = environment()["versions"]
    assert left == {name: number for name, number in everything.items() if name != "albumentations"}
    assert len(left) == len(everything) - 1

"""What a result was measured on."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("advbg", "torch", "torchvision", "timm", "kornia", "albumentations", "numpy", "scikit-image")


def environment(device: str | torch.device = "cpu") -> dict[str, Mapping[str, str | int]]:
    """Describe this machine and the versions of what runs on it.

    Args:
        device: what is used; a GPU is named, where there is one.
    """
    on_gpu = torch.device(device).type == "cuda" and torch.cuda.is_available()
    gpu = {"gpu": torch.cuda.get_device_name(device)} if on_gpu else {}
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count() or 1,
            "threads": torch.get_num_threads(),
            "system": platform.platform(),
        }
        | gpu,
        "versions": {"python": platform.python_version()} | dict(_versions()),
    }


def measured_in(rows: Mapping[str, Any], there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, Any]:
    """Rows that say themselves what they were measured on, where that is not what their results will say.

    Args:
        rows: by name; those that say it already stay as they are.
        there: with the `machine` and `versions` of the rows.
        here: with those of the results that the rows go to.
    """
    other = {name: there[name] for name in ("machine", "versions") if there[name] != here[name]}
    return {name: other | row for name, row in rows.items()}


def machines(measured: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """Name what rows were measured on, for a page.

    Args:
        measured: rows, each with the results that it is of.
    """
    found = [row.get("machine", results["machine"]) for row, results in measured]
    names = list(dict.fromkeys(_name(one) for one in found))
    return names[0] if len(names) == 1 else f"several machines, whose seconds do not compare ({'; '.join(names)})"


def _name(machine: Mapping[str, str | int]) -> str:
    return str(machine.get("gpu", f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores"))


def _versions() -> Iterator[tuple[str, str]]:
    """Of the packages that are there: a result is not lost for one that was taken away, or has another name."""
    for name in _PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _processor() -> str:
    """The processor's name; `platform` knows only its architecture on Linux."""
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

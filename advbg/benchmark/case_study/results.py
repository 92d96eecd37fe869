"""The `results.json` of case studies: read again, and put together from several runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advbg.benchmark.environment import measured_in
from advbg.benchmark.files import read_json

# What every `results.json` has.
RESULTS_PARTS = ("settings", "images", "machine", "versions", "seeds")


def read_results(file: Path, description: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a run of the same case study has measured.

    Args:
        file: its `results.json`, which may not be there.
        description: the `settings`, `classes` and `images` that it must have.

    Raises:
        ValueError: where the file is damaged, or its run had others, which the message names.
    """
    if not file.is_file():
        return None
    results = read_json(file, *RESULTS_PARTS)
    before, ours = (which["settings"] | which for which in (results, json.loads(json.dumps(description))))
    for name in ours.keys() - {"settings"}:
        if name not in before:
            raise ValueError(f"{file} was run before `{name}` (={ours[name]!r}) was written down: publish elsewhere")
        if before[name] != ours[name]:
            raise ValueError(f"{file} was run with `{name}` {before[name]!r}, not {ours[name]!r}")
    return results


def with_published(results: Mapping[str, Any], published: Mapping[str, Any]) -> dict[str, Any]:
    """Published results and what a run adds to them; rows that are published stay as they are.

    Args:
        results: of the run.
        published: with the machine and versions that rows were measured on which do not say others themselves.
    """
    seeds = {
        seed: measured_in(results["seeds"].get(seed, {}), results, published) | published["seeds"].get(seed, {})
        for seed in sorted(results["seeds"].keys() | published["seeds"].keys(), key=int)
    }
    return {**published, "seeds": seeds}

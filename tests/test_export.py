"""Generators as files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from advbg import AdversarialBackground
from advbg.backgrounds import GeneratorPopulation
from advbg.backgrounds.population import SPECIES
from advbg.export import ExportedGenerator, export_generator
from tests.models import a_batch, adversarial_wrapper, tiny_classifier, train


def _trained(background: str, size: tuple[int, int] = (32, 32)) -> AdversarialBackground:
    wrapper = adversarial_wrapper(background=background)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.1)
    wrapper.attach(optimizer)
    wrapper.companions.build(a_batch(size=size)[0])
    train(wrapper, optimizer, 2)
    return wrapper


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("background", ["adversarial", "random", "paper"])
def test_an_exported_generator_makes_what_the_trained_one_makes(tmp_path: Path, background: str) -> None:
    source = _trained(background).companions
    export_generator(source, tmp_path / "generator.safetensors")
    exported = ExportedGenerator(tmp_path / "generator.safetensors")
    generator = _seeded()
    made = exported.sample(8, (3, 32, 32), generator)
    generator = _seeded()
    if isinstance(source.source, GeneratorPopulation):
        source.source.age = int(torch.randint(len(source.source.members), (), generator=generator))
    assert torch.equal(made, source.source.sample(8, (3, 32, 32), generator))
    assert not made.requires_grad
    assert [path.name for path in tmp_path.iterdir()] == ["generator.safetensors"]


def test_the_header_says_how_to_build_it_again(tmp_path: Path) -> None:
    export_generator(_trained("adversarial").companions, str(tmp_path / "g.safetensors"))
    with safe_open(tmp_path / "g.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["advbg_generator"])
    assert header["kind"] == "GeneratorPopulation"
    assert header["image_shape"] == [3, 32, 32]
    assert header["species"] == [list(kind) for kind in SPECIES]


@pytest.mark.parametrize("background", ["adversarial", "paper"])
def test_other_sizes_are_filled_but_other_channels_refused(tmp_path: Path, background: str) -> None:
    export_generator(_trained(background).companions, tmp_path / "g.safetensors")
    exported = ExportedGenerator(tmp_path / "g.safetensors")
    for size in ((16, 20), (32, 33), (90, 70)):
        made = exported.sample(2, (3, *size), _seeded())
        assert made.shape == (2, 3, *size)
        assert 0 <= made.min() <= made.max() <= 1
    with pytest.raises(ValueError, match="makes backgrounds of 3 channels, but the images have 1"):
        exported.sample(2, (1, 32, 32), _seeded())


def test_reading_a_generator_leaves_the_global_random_stream_alone(tmp_path: Path) -> None:
    export_generator(_trained("paper").companions, tmp_path / "g.safetensors")
    state = torch.get_rng_state()
    ExportedGenerator(tmp_path / "g.safetensors").sample(1, (3, 32, 32), _seeded())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ["generator", "generator.pt", "missing/generator.safetensors"])
def test_a_file_that_no_pipeline_would_find_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`path` \(=.*\) must end in .safetensors and be in a folder that exists"):
        export_generator(_trained("random").companions, tmp_path / name)


def test_there_is_nothing_to_export_before_the_first_batch_or_of_other_sources(tmp_path: Path) -> None:
    wrapper = AdversarialBackground(tiny_classifier(), background="noise")
    with pytest.raises(ValueError, match="have seen no batch"):
        export_generator(wrapper.companions, tmp_path / "g.safetensors")
    wrapper.companions.build(a_batch()[0])
    with pytest.raises(ValueError, match="the background source is a Noise: only"):
        export_generator(wrapper.companions, tmp_path / "g.safetensors")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_generators_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.safetensors"
    with pytest.raises(FileNotFoundError, match=r"g\.safetensors' does not exist"):
        ExportedGenerator(path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(ValueError, match="is damaged or no safetensors file"):
        ExportedGenerator(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="was not written by `export_generator`"):
        ExportedGenerator(path)
    description = {"kind": "PaperGenerator", "image_shape": [3, 32, 32]}
    save_file({"weight": torch.zeros(1)}, path, metadata={"advbg_generator": json.dumps(description)})
    with pytest.raises(ValueError, match=r"does not hold the weights it describes: missing .* unexpected \['weight'\]"):
        ExportedGenerator(path)


@pytest.mark.parametrize(
    ("change", "message"), [(-1, r"missing \['.+'\], unexpected \[\]"), (1, r"missing \[\], un.* \['more'\]")]
)
def test_a_weight_too_few_and_one_too_many_are_named(tmp_path: Path, change: int, message: str) -> None:
    path = tmp_path / "g.safetensors"
    export_generator(_trained("paper").companions, path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    if change > 0:
        weights["more"] = torch.zeros(1)
    else:
        weights.popitem()
    save_file(weights, path, metadata=header)
    with pytest.raises(ValueError, match=f"does not hold the weights it describes: {message}"):
        ExportedGenerator(path)

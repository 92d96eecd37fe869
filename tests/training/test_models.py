"""timm models for classes of one's own."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from advbg.pixel_space import PixelSpace
from advbg.training.models import check_model, construction_options, create_model, rebuilt_name

NAME = "test_efficientnet"


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("name", [NAME, "test_resnet", "test_vit"])
def test_weights_with_another_head_are_loaded_all_but_the_head(tmp_path: Path, suffix, name) -> None:
    theirs = timm.create_model(name, num_classes=7).state_dict()
    file = tmp_path / f"weights{suffix}"
    save_file(theirs, file) if suffix == ".safetensors" else torch.save(theirs, file)
    model = create_model(name, 3, seed=0, weights=file)
    head = model.pretrained_cfg["classifier"]
    for key, tensor in model.state_dict().items():
        if key.startswith(head):
            assert len(tensor) == 3
        else:
            assert torch.equal(tensor, theirs[key])


def test_a_head_for_as_many_classes_is_not_read_either(tmp_path: Path) -> None:
    theirs = timm.create_model(NAME, num_classes=3).state_dict()
    save_file(theirs, tmp_path / "w.safetensors")
    model = create_model(NAME, 3, seed=0, weights=tmp_path / "w.safetensors")
    assert not torch.equal(model.state_dict()["classifier.weight"], theirs["classifier.weight"])


@pytest.mark.parametrize("name", [NAME, "test_resnet", "test_vit"])
def test_a_new_head_on_learned_features_begins_small(tmp_path: Path, name) -> None:
    save_file(timm.create_model(name, num_classes=7).state_dict(), tmp_path / "w.safetensors")
    model = create_model(name, 3, seed=0, weights=tmp_path / "w.safetensors")
    head = model.get_classifier()
    assert head.weight.abs().max() <= head.in_features**-0.5
    again = create_model(name, 3, seed=0, weights=tmp_path / "w.safetensors")
    assert torch.equal(again.get_classifier().weight, head.weight)


def test_an_ordinary_script_gets_the_head_that_timm_makes(tmp_path: Path) -> None:
    save_file(timm.create_model(NAME, num_classes=7).state_dict(), tmp_path / "w.safetensors")
    model = create_model(NAME, 3, seed=4, weights=tmp_path / "w.safetensors", tuning="ordinary")
    with torch.random.fork_rng():
        torch.manual_seed(4)
        theirs = timm.create_model(NAME, num_classes=3)
    assert torch.equal(model.get_classifier().weight, theirs.get_classifier().weight)
    assert not torch.equal(model.conv_stem.weight, theirs.conv_stem.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("conv_stem.weight"), "conv_stem.weight are missing"),
        (lambda state: state.update(extra=torch.ones(1)), "extra are not the model's"),
        (lambda state: state.update({"conv_stem.weight": torch.ones(2)}), "conv_stem.weight have another shape"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(tmp_path: Path, change, message) -> None:
    state = timm.create_model(NAME).state_dict()
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=f"are of another model: {message}"):
        create_model(NAME, 3, seed=0, weights=tmp_path / "w.safetensors")


def test_weights_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        create_model(NAME, 3, seed=0, weights=tmp_path / "nowhere.pth")
    for name in ("broken.pth", "broken.safetensors"):
        (tmp_path / name).write_bytes(b"broken")
        with pytest.raises(ValueError, match=f"{name}'\\) is damaged or no file of weights"):
            create_model(NAME, 3, seed=0, weights=tmp_path / name)


def test_an_unknown_model_is_refused_with_a_hint() -> None:
    with pytest.raises(ValueError, match=r"`model` \(='test_efficient'\) is no model of timm; it has test_"):
        check_model("test_efficient")
    # Nothing contains all of this name, but something begins as it does.
    with pytest.raises(ValueError, match=r"`model` \(='resnet-18'\) is no model of timm; it has resne"):
        check_model("resnet-18")
    with pytest.raises(ValueError, match=r"`model` \(='zzzzzz'\) is no model of timm$"):
        check_model("zzzzzz")


def test_a_seed_gives_the_same_weights_and_leaves_the_global_stream() -> None:
    before = torch.get_rng_state()
    first, again, other = (create_model(NAME, 3, seed=seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first["conv_stem.weight"], again["conv_stem.weight"])
    assert not torch.equal(first["conv_stem.weight"], other["conv_stem.weight"])


def test_models_made_for_one_size_are_made_for_the_images() -> None:
    model = create_model("test_vit", 3, seed=0, image_size=64)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_weights_of_another_image_size_are_resampled_as_timm_does(tmp_path: Path) -> None:
    theirs = timm.create_model("test_vit", num_classes=7)
    file = tmp_path / "w.safetensors"
    save_file(theirs.state_dict(), file)
    model = create_model("test_vit", 3, seed=0, weights=file, image_size=64)
    overlay = {"file": str(file), "num_classes": 7}
    reference = timm.create_model(
        "test_vit", pretrained=True, num_classes=3, img_size=64, pretrained_cfg_overlay=overlay
    )
    head = model.pretrained_cfg["classifier"]
    expected = {name: tensor for name, tensor in reference.state_dict().items() if not name.startswith(head)}
    assert expected["pos_embed"].shape != theirs.state_dict()["pos_embed"].shape
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in expected.items())


@pytest.mark.parametrize("name", [NAME, "test_resnet"])
def test_weights_of_before_batches_were_counted_are_loaded(tmp_path: Path, name: str) -> None:
    theirs = timm.create_model(name, num_classes=7).state_dict()
    torch.save({key: tensor for key, tensor in theirs.items() if "num_batches_tracked" not in key}, tmp_path / "w.pth")
    ours = create_model(name, 3, seed=0, weights=tmp_path / "w.pth").state_dict()
    assert any(key.endswith("num_batches_tracked") for key in theirs)
    for key, tensor in ours.items():
        if not key.startswith(("classifier", "fc")):
            assert torch.equal(tensor, theirs[key]), key


def test_a_model_in_a_folder_is_made_as_timm_makes_it(tmp_path: Path) -> None:
    described = {
        "mean": [0.4] * 3,
        "std": [0.3] * 3,
        "input_size": [3, 96, 96],
        "classifier": "fc",
        "first_conv": "conv1",
    }
    theirs = timm.create_model("test_resnet", num_classes=7)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "test_resnet", "num_classes": 7, "pretrained_cfg": described}
    (tmp_path / "config.json").write_text(json.dumps(config))
    name = f"local-dir:{tmp_path}"
    check_model(name)
    model: Any = create_model(name, 3, seed=0, pretrained=True, image_size=64)
    assert torch.equal(model.layer1[0].conv1.weight, theirs.layer1[0].conv1.weight)
    assert model.get_classifier().out_features == 3
    assert PixelSpace.of(model).mean == (0.4, 0.4, 0.4)
    assert construction_options(name, 64) == {}


def test_a_model_in_a_folder_that_is_made_for_one_size_is_told_it_and_made_again_without_the_folder(
    tmp_path: Path,
) -> None:
    theirs: Any = timm.create_model("test_vit", num_classes=7, depth=2)
    timm.models.save_for_hf(theirs, tmp_path, model_args={"depth": 2})
    name = f"local-dir:{tmp_path}"
    model: Any = create_model(name, 3, seed=0, pretrained=True, image_size=64)
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3)
    assert torch.equal(model.blocks[1].mlp.fc1.weight, theirs.blocks[1].mlp.fc1.weight)
    options = construction_options(name, 64)
    assert options.items() >= {"depth": 2, "img_size": 64}.items()
    again = create_model(rebuilt_name(name, model), 3, seed=1, options=options)
    again.load_state_dict(model.state_dict())


def test_a_model_that_is_in_no_folder_is_refused_when_it_is_made(tmp_path: Path) -> None:
    name = f"local-dir:{tmp_path / 'nowhere'}"
    check_model(name)
    with pytest.raises(ValueError, match="nowhere'\\) cannot be made: Config file not found"):
        create_model(name, 3, seed=0)


def test_a_model_of_random_weights_is_as_timm_makes_it() -> None:
    model = create_model(NAME, 3, seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        theirs = timm.create_model(NAME, num_classes=3).state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def test_only_models_that_are_made_for_one_size_are_told_it() -> None:
    assert construction_options("test_vit", 64) == {"img_size": 64}
    assert construction_options("test_vit", None) == {}
    assert construction_options("test_resnet", 64) == {}

"""New backgrounds in albumentations' pipelines."""

import json
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from advbg.backgrounds.plain import Noise
from advbg.export import export_generator
from advbg.integrations.albumentations import ReplaceBackground
from tests.integrations.reference import REAL_BACKGROUNDS, assert_composited
from tests.models import a_batch, adversarial_wrapper


def a_sample(size=(9, 12), seed=0):
    """A random image with a block of foreground."""
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask = np.zeros(size, dtype=np.uint8)
    mask[size[0] // 3 : -2, 2:-3] = 1
    return {"image": image, "mask": mask}


@st.composite
def samples(draw):
    """Images of any size, channels and dtype, masks of any dtype, and a background; with the mask's weights."""
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    size = draw(st.tuples(st.integers(1, 16), st.integers(1, 16)))
    channels = draw(st.sampled_from([(), (1,), (3,), (5,)]))
    image = generator.integers(0, 256, size + channels, dtype=np.uint8)
    background = generator.integers(0, 256, size + channels, dtype=np.uint8)
    if draw(st.booleans()):
        image, background = (image / 255).astype(np.float32), (background / 255).astype(np.float32)
    kind = draw(st.sampled_from(["bool", "uint8", "255", "int64", "float32"]))
    weight = generator.random(size).round(2) if kind == "float32" else (generator.random(size) > 0.5).astype(float)
    weight[0, 0] = 1
    mask = (weight * 255).astype(np.uint8) if kind == "255" else weight.astype(kind)
    if draw(st.booleans()):
        mask = mask[..., None]
    return image, mask, weight.reshape(size + (1,) * len(channels)), background


@settings(deadline=None, max_examples=60)
@given(samples())
def test_images_are_composited_as_by_numpy_and_masks_stay(sample):
    image, mask, weight, background = sample
    given_image, given_mask = image.copy(), mask.copy()
    result = A.Compose([ReplaceBackground(background, p=1.0)])(image=image, mask=mask)
    assert_composited(result["image"], given_image, weight, background)
    np.testing.assert_array_equal(image, given_image)
    assert result["mask"].dtype == mask.dtype
    np.testing.assert_array_equal(result["mask"], given_mask)


class _Samples(Dataset):
    def __init__(self, pipeline):
        self.pipeline = pipeline

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.pipeline(**a_sample())["image"]


def test_workers_of_a_loader_draw_different_backgrounds_in_every_epoch():
    loader = DataLoader(_Samples(A.Compose([ReplaceBackground("noise", p=1.0)], seed=0)), batch_size=4, num_workers=2)

    def epochs():
        torch.manual_seed(0)
        return [image.numpy().tobytes() for _ in range(2) for images in loader for image in images]

    drawn = epochs()
    assert len(set(drawn)) == 16
    assert epochs() == drawn


def test_a_mask_that_was_flipped_with_its_image_is_the_one_that_counts():
    sample = a_sample()
    result = A.Compose([A.HorizontalFlip(p=1.0), ReplaceBackground("black", p=1.0)])(**sample)
    assert_composited(result["image"], sample["image"][:, ::-1], sample["mask"][:, ::-1, None], np.zeros(1))


def test_the_same_seed_makes_the_same_images_and_another_seed_others():
    def run(seed):
        pipeline = A.Compose([ReplaceBackground("noise", p=0.7)], seed=seed)
        return np.stack([pipeline(**a_sample())["image"] for _ in range(6)])

    np.testing.assert_array_equal(run(1), run(1))
    assert (run(1) != run(2)).any()
    assert len({image.tobytes() for image in run(1)}) > 3


def test_p_is_the_share_of_images_that_are_changed():
    pipeline = A.Compose([ReplaceBackground("noise", p=0.25)], seed=0)
    sample = a_sample()
    changed = [(pipeline(**sample)["image"] != sample["image"]).any() for _ in range(400)]
    assert 0.18 < np.mean(changed) < 0.32
    untouched = A.Compose([ReplaceBackground("noise", p=0.0)])(**sample)["image"]
    np.testing.assert_array_equal(untouched, sample["image"])


def test_a_replay_makes_the_same_image_and_survives_json():
    pipeline = A.ReplayCompose([A.HorizontalFlip(p=0.5), ReplaceBackground("noise", p=0.9)])
    for seed in range(5):
        pipeline.set_random_seed(seed)
        result = pipeline(**a_sample())
        saved = json.loads(json.dumps(result["replay"]))
        np.testing.assert_array_equal(A.ReplayCompose.replay(saved, **a_sample())["image"], result["image"])


def test_a_replay_on_another_image_takes_that_images_mask():
    sample, other = a_sample(), a_sample(seed=1)
    sample["mask"][:] = 0
    sample["mask"][0, 0] = other["mask"][0, 0] = 1  # the first image shows all of its background but this pixel
    result = A.ReplayCompose([ReplaceBackground("noise", p=1.0)])(**sample)
    replayed = A.ReplayCompose.replay(result["replay"], **other)["image"]
    np.testing.assert_array_equal(replayed, np.where(other["mask"][..., None] == 1, other["image"], result["image"]))


@pytest.mark.parametrize(
    "background",
    [
        "patterns:clock",
        "noise",
        np.arange(12, dtype=np.uint8).reshape(2, 2, 3),
        np.linspace(0, 1, 4, dtype=np.float32).reshape(2, 2),
    ],
    ids=["pattern", "noise", "uint8", "float32"],
)
def test_a_saved_pipeline_makes_the_same_images(tmp_path, background):
    pipeline = A.Compose([ReplaceBackground(background, p=0.8)])
    A.save(pipeline, tmp_path / "pipeline.json")
    for restored in (A.load(tmp_path / "pipeline.json"), A.from_dict(A.to_dict(pipeline))):
        for seed in range(3):
            pipeline.set_random_seed(seed)
            restored.set_random_seed(seed)
            np.testing.assert_array_equal(restored(**a_sample())["image"], pipeline(**a_sample())["image"])  # pyright: ignore[reportOptionalCall]


def test_an_own_source_can_be_replayed_but_not_saved():
    pipeline = A.ReplayCompose([ReplaceBackground(Noise(), p=1.0)])
    result = pipeline(**a_sample())
    replayed = A.ReplayCompose.replay(result["replay"], **a_sample())
    np.testing.assert_array_equal(replayed["image"], result["image"])
    with pytest.raises(NotImplementedError, match="with a Noise cannot be saved: names, paths and arrays can"):
        A.to_dict(pipeline)


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"image": a_sample()["image"]}, "needs the foreground of the image: pass `mask=`"),
        ({"images": a_sample()["image"][None], "mask": a_sample()["mask"]}, "takes an `image` .* got images"),
        ({"volume": a_sample()["image"][None], "mask": a_sample()["mask"]}, "takes an `image` .* got volume"),
        (a_sample() | {"mask": a_sample()["mask"] * 3}, r"`mask` of torch.uint8 has the values \[0, 3\]"),
        (a_sample() | {"mask": a_sample()["mask"] * 2.0}, r"`mask` ranges over \[0, 2\], expected \[0, 1\]"),
        (a_sample() | {"mask": np.zeros((9, 12, 2), bool)}, "`mask` has shape"),
        (a_sample() | {"image": a_sample()["image"].astype(np.float32)}, r"ranges over \[\d+, \d+\], .* normalised"),
    ],
    ids=["no mask", "images", "volume", "labels", "range", "channels", "normalised"],
)
def test_what_cannot_be_composited_is_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        ReplaceBackground("noise", p=1.0)(**sample)


@pytest.mark.parametrize("mask", [torch.ones(9, 12), [[1]]])
def test_a_mask_that_is_no_array_is_named(mask):
    with pytest.raises(TypeError, match=r"`mask` \(a (Tensor|list)\) must be a NumPy array"):
        ReplaceBackground("noise", p=1.0)(image=a_sample()["image"], mask=mask)


def test_a_missing_mask_is_refused_whether_the_draw_needs_it_or_not():
    with pytest.raises(ValueError, match="needs the foreground of the image: pass `mask=`"):
        A.Compose([ReplaceBackground("noise", p=0.0)])(image=a_sample()["image"])


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=rf"`p` \(={p}\) must be a probability"):
        ReplaceBackground("noise", p=p)


def test_an_image_without_an_object_stays_as_it_is():
    sample = a_sample()
    result = ReplaceBackground("noise", p=1.0)(image=sample["image"], mask=np.zeros((9, 12), bool))
    np.testing.assert_array_equal(result["image"], sample["image"])


def test_every_single_image_gets_another_member_of_an_exported_population(tmp_path: Path):
    wrapper = adversarial_wrapper()
    wrapper.companions.build(a_batch()[0])
    export_generator(wrapper.companions, tmp_path / "generator.safetensors")
    pipeline = A.Compose([ReplaceBackground(tmp_path / "generator.safetensors", p=1.0)], seed=0)
    restored = A.from_dict(A.to_dict(pipeline))
    restored.set_random_seed(0)
    members = []
    for _ in range(15):
        np.testing.assert_array_equal(restored(**a_sample())["image"], pipeline(**a_sample())["image"])  # pyright: ignore[reportOptionalCall]
        members.append(pipeline.transforms[0].source.network.age)
    assert len(set(members)) > 3


@pytest.mark.skipif(not REAL_BACKGROUNDS.is_dir(), reason=f"{REAL_BACKGROUNDS} is not there")
def test_photographs_are_put_behind_objects_and_vary():
    pipeline = A.Compose([ReplaceBackground(str(REAL_BACKGROUNDS), p=1.0)], seed=0)
    sample = a_sample(size=(40, 60))
    results = [pipeline(**sample)["image"] for _ in range(4)]
    for result in results:
        np.testing.assert_array_equal(result[sample["mask"] == 1], sample["image"][sample["mask"] == 1])
        assert (result[sample["mask"] == 0] != sample["image"][sample["mask"] == 0]).mean() > 0.9
    assert len({result.tobytes() for result in results}) == 4


def test_the_global_random_streams_are_left_alone():
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    ReplaceBackground("noise", p=0.5)(**a_sample())
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)


@pytest.mark.parametrize("more", [{"image2": "image"}, {"image2": "image", "mask2": "mask"}])
def test_more_images_are_refused_since_nobody_says_which_mask_is_theirs(more):
    pipeline = A.Compose([ReplaceBackground("noise", p=1.0)], additional_targets=more)
    sample = a_sample()
    others = {name: sample[kind] for name, kind in more.items()}
    with pytest.raises(ValueError, match="`additional_targets` adds image2: which mask"):
        pipeline(**sample, **others)


def test_a_mask_of_16_bits_is_one():
    sample = a_sample()
    pipeline = A.Compose([ReplaceBackground("noise", p=1.0)], seed=0)
    wide = {"mask": sample["mask"].astype(np.uint16)}
    assert (pipeline(**sample)["image"] == A.Compose([pipeline[0]], seed=0)(**sample | wide)["image"]).all()


@pytest.mark.parametrize("values", [[[0, 256]], [[-1, 9]]])
def test_a_saved_picture_of_no_bytes_is_refused(values):
    with pytest.raises(ValueError, match=r"`background` ranges over \[-?\d+, \d+\], expected \[0, 255\]"):
        ReplaceBackground(values)


def test_a_second_mask_stays_as_it_is():
    sample = a_sample()
    pipeline = A.Compose([ReplaceBackground("black", p=1.0)], additional_targets={"mask2": "mask"})
    result = pipeline(**sample, mask2=1 - sample["mask"])
    assert_composited(result["image"], sample["image"], sample["mask"][..., None], np.zeros(1))
    np.testing.assert_array_equal(result["mask2"], 1 - sample["mask"])

"""New backgrounds in torchvision's v2 pipelines."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from advbg.integrations.torchvision import ReplaceBackground
from tests.integrations.reference import REAL_BACKGROUNDS, assert_composited

SIZE = (9, 12)


def plain(value):
    """The tensor without its torchvision type."""
    return value.as_subclass(torch.Tensor)


def a_sample(seed=0, size=SIZE):
    """A random image with a block of foreground and a label."""
    pixels = torch.randint(256, (3, *size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    mask = torch.zeros(size, dtype=torch.bool)
    mask[size[0] // 3 : -2, 2:-3] = True
    return {"image": tv_tensors.Image(pixels), "mask": tv_tensors.Mask(mask), "label": torch.tensor(seed)}


@st.composite
def samples(draw):
    """Single images and batches of any size, channels and dtype, with masks of any dtype, and their weights."""
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    size = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    channels = draw(st.sampled_from([1, 3, 5]))
    image = generator.integers(0, 256, (*batch, channels, *size), dtype=np.uint8)
    background = generator.integers(0, 256, (channels, *size), dtype=np.uint8)
    dtype = draw(st.sampled_from([None, "float32", "float64"]))
    if dtype:
        image, background = (image / 255).astype(dtype), (background / 255).astype("float32")
    kind = draw(st.sampled_from(["bool", "uint8", "255", "int64", "float32"]))
    weight = generator.random((*batch, 1, *size), dtype=np.float32)
    weight = weight if kind == "float32" else (weight > 0.5).astype(np.float32)
    weight[..., 0, 0] = 1
    mask = (weight * 255).astype(np.uint8) if kind == "255" else weight.astype(kind)
    return image, mask[..., 0, :, :] if draw(st.booleans()) else mask, weight, background


@settings(deadline=None, max_examples=60)
@given(samples())
def test_images_are_composited_as_by_numpy_and_masks_stay(sample):
    image, mask, weight, background = sample
    given_image, given_mask = tv_tensors.Image(image.copy()), tv_tensors.Mask(mask.copy())
    changed, same = v2.Compose([ReplaceBackground(torch.from_numpy(background), p=1.0)])(given_image, given_mask)
    assert isinstance(changed, tv_tensors.Image)
    assert same is given_mask
    assert_composited(changed.numpy(), image, weight, background)
    np.testing.assert_array_equal(given_image.numpy(), image)
    np.testing.assert_array_equal(same.numpy(), mask)


def test_only_the_image_of_a_nested_sample_changes():
    sample = a_sample() | {"boxes": tv_tensors.BoundingBoxes([[1, 2, 3, 4]], format="XYXY", canvas_size=SIZE)}
    nested = {"views": [sample], "name": "cat"}
    result = ReplaceBackground("noise", p=1.0)(nested)
    after = result["views"][0]
    assert result["name"] == "cat"
    assert all(after[key] is sample[key] for key in ("mask", "label", "boxes"))
    assert not torch.equal(after["image"], sample["image"])


def test_a_mask_that_was_flipped_with_its_image_is_the_one_that_counts():
    sample = a_sample()
    result = v2.Compose([v2.RandomHorizontalFlip(p=1.0), ReplaceBackground("black", p=1.0)])(sample)
    assert torch.equal(result["image"], (plain(sample["image"]) * plain(sample["mask"])).flip(-1))


def test_all_objects_of_an_instance_mask_are_foreground_and_none_leaves_the_image():
    image = a_sample()["image"]
    objects = torch.zeros(2, *SIZE, dtype=torch.bool)
    objects[0, 1, 1] = objects[1, 5, 6] = True
    changed, _ = ReplaceBackground("black", p=1.0)(image, tv_tensors.Mask(objects))
    assert torch.equal(changed, image * objects.any(dim=0))
    unchanged, _ = ReplaceBackground("black", p=1.0)(image, tv_tensors.Mask(objects[:0]))
    assert torch.equal(unchanged, image)


def test_p_is_the_share_of_images_in_a_batch_as_among_single_images():
    torch.manual_seed(0)
    images = torch.rand(400, 1, 4, 4)
    mask = torch.zeros(400, 4, 4, dtype=torch.bool)
    mask[:, 1:3, 1:3] = True
    transform = ReplaceBackground("noise", p=0.3)
    changed, _ = transform(tv_tensors.Image(images), tv_tensors.Mask(mask))
    single = [
        transform(tv_tensors.Image(image), tv_tensors.Mask(one))[0] for image, one in zip(images, mask, strict=True)
    ]
    for result in (changed, torch.stack(single)):
        share = (result != images).flatten(1).any(dim=1).float().mean()
        assert 0.23 < share < 0.37


def test_the_same_global_seed_makes_the_same_images():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(ReplaceBackground("noise", p=1.0)(a_sample())["image"])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


class _Samples(Dataset):
    def __init__(self, transform):
        self.transform = transform

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.transform(a_sample())


def test_workers_of_a_loader_draw_different_backgrounds():
    transform = v2.Compose(
        [ReplaceBackground("noise", p=1.0), v2.ToDtype(torch.float32, scale=True), v2.ToPureTensor()]
    )
    torch.manual_seed(0)
    batches = list(DataLoader(_Samples(transform), batch_size=4, num_workers=2))
    images = torch.cat([batch["image"] for batch in batches])
    assert images.shape == (8, 3, *SIZE)
    assert len({image.numpy().tobytes() for image in images}) == 8


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"image": a_sample()["image"]}, r"needs one `tv_tensors.Mask` in each sample, got 0"),
        ({"mask": a_sample()["mask"], "image": torch.rand(3, *SIZE)}, r"one `tv_tensors.Image` .* got 0: put `v2.ToI"),
        (a_sample() | {"other": a_sample()["mask"]}, r"needs one `tv_tensors.Mask` in each sample, got 2"),
        (a_sample() | {"mask": tv_tensors.Mask(torch.full(SIZE, 3))}, r"`mask` of torch.int64 has the values \[3\]"),
        (a_sample() | {"mask": tv_tensors.Mask(torch.ones(4, 4))}, "`mask` has shape"),
        (a_sample() | {"image": tv_tensors.Image(torch.randn(3, *SIZE) * 3)}, "before images are normalised"),
        (a_sample() | {"image": tv_tensors.Image(torch.ones(3, *SIZE).int())}, r"`image` has dtype torch.int32"),
        (a_sample() | {"image": tv_tensors.Image(torch.rand(1, 1, 3, *SIZE))}, "`image` has shape"),
    ],
    ids=["no mask", "no image", "two masks", "labels", "size", "normalised", "dtype", "rank"],
)
def test_what_cannot_be_composited_is_refused(sample, message):
    with pytest.raises(ValueError, match=message):
        ReplaceBackground("noise", p=0.0)(sample)


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=rf"`p` \(={p}\) must be a probability"):
        ReplaceBackground("noise", p=p)


def test_it_says_what_it_does_and_can_be_copied():
    transform = copy.deepcopy(ReplaceBackground("patterns", p=0.25))
    assert repr(transform) == "ReplaceBackground(background=patterns, p=0.25)"


@pytest.mark.skipif(not REAL_BACKGROUNDS.is_dir(), reason=f"{REAL_BACKGROUNDS} is not there")
def test_photographs_are_put_behind_objects():
    torch.manual_seed(0)
    sample = a_sample(size=(30, 40))
    image, mask = plain(sample["image"]), plain(sample["mask"])
    changed = plain(ReplaceBackground(REAL_BACKGROUNDS, p=1.0)(sample)["image"])
    assert torch.equal(changed[:, mask], image[:, mask])
    assert (changed != image).float().mean(dim=0)[~mask].mean() > 0.9


def test_a_source_is_asked_for_nothing_where_no_image_changes():
    class Never:
        def sample(self, count, shape, generator):
            raise AssertionError("asked")

    sample = a_sample()
    assert torch.equal(ReplaceBackground(Never(), p=0.0)(sample)["image"], sample["image"])

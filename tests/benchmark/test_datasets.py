"""The data sets at 32 pixels."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.datasets import load_digits
from torchvision.datasets import MNIST

from advbg.benchmark.datasets import load_dataset

SHARED_DATA = Path(__file__).parents[2].parent / "shared" / "data"
NOWHERE = Path("nowhere")
_RAW_COUNTS = {"train": 7, "t10k": 5}


@cache
def digits(train_size=None, seed=0):
    return load_dataset("digits", data_dir=NOWHERE, train_size=train_size, seed=seed)


def write_raw_files(root, folder="MNIST"):
    """Seven training and five test images in the format of MNIST; returns the pixels and targets of each part."""
    generator = np.random.default_rng(0)
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    parts = {}
    for name, count in _RAW_COUNTS.items():
        pixels = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        targets = generator.integers(0, 10, count, dtype=np.uint8)
        header = np.array([2051, count, 28, 28], dtype=">i4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = np.array([2049, count], dtype=">i4").tobytes()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(header + targets.tobytes())
        parts[name] = (pixels, targets)
    return parts


def pairs(dataset):
    """The set of training images with their targets."""
    return {
        (image.numpy().tobytes(), target.item())
        for image, target in zip(dataset.train_images, dataset.train_targets, strict=True)
    }


def no_network(self):
    raise RuntimeError("no network")


def test_a_quarter_of_the_digits_is_held_out():
    dataset = digits()
    assert dataset.train_images.shape == (1347, 1, 32, 32)
    assert dataset.test_images.shape == (450, 1, 32, 32)
    assert (len(dataset.train_targets), len(dataset.test_targets)) == (1347, 450)


def test_digits_are_floats_from_black_to_white_with_whole_targets():
    dataset = digits()
    assert (dataset.train_images.dtype, dataset.train_targets.dtype) == (torch.float32, torch.int64)
    assert (dataset.train_images.min(), dataset.train_images.max()) == (0, 1)
    assert dataset.class_names == tuple("0123456789")


def test_every_class_has_its_quarter_in_the_test_set():
    dataset = digits()
    held_out = torch.bincount(dataset.test_targets)
    assert (held_out - (held_out + torch.bincount(dataset.train_targets)) / 4).abs().max() <= 1


def test_digits_are_the_scans_resized_bilinearly_to_20_pixels_in_the_centre():
    scans = load_digits()
    places = (np.arange(20) + 0.5) * 8 / 20 - 0.5
    weights = np.stack([np.interp(places, np.arange(8), unit) for unit in np.eye(8)], axis=1)
    expected = np.zeros((len(scans.images), 32, 32))
    expected[:, 6:26, 6:26] = weights @ scans.images @ weights.T / 16
    expected[expected.round(6) < 1 / 16] = 0
    dataset = digits()
    images = torch.cat([dataset.train_images, dataset.test_images]).flatten(1)
    distances = torch.cdist(
        images, torch.from_numpy(expected).float().flatten(1), compute_mode="donot_use_mm_for_euclid_dist"
    )
    nearest = distances.min(dim=1)
    assert nearest.values.max() < 1e-4
    assert nearest.indices.unique().numel() == len(expected)
    np.testing.assert_array_equal(scans.target[nearest.indices], [*dataset.train_targets, *dataset.test_targets])


def test_no_pixel_of_a_digit_is_fainter_than_the_faintest_ink_of_the_scans():
    images = digits().test_images
    assert images[images > 0].min().item() == pytest.approx(1 / 16, rel=1e-5)


def test_the_silhouettes_of_most_zeros_have_their_hole():
    dataset = digits()
    silhouettes = dataset.test_images[dataset.test_targets == 0, 0].numpy() > 0
    with_hole = [ndimage.label(~silhouette)[1] > 1 for silhouette in silhouettes]
    assert np.mean(with_hole) > 0.9


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**31), train_size=st.none() | st.integers(1, 1347))
def test_the_test_set_is_the_same_in_every_run(seed, train_size):
    reference, other = digits(), digits(train_size, seed)
    assert torch.equal(reference.test_images, other.test_images)
    assert torch.equal(reference.test_targets, other.test_targets)


@settings(max_examples=8, deadline=None)
@given(train_size=st.integers(1, 1347), seed=st.integers(0, 2**31))
def test_a_train_size_takes_so_many_different_images_with_their_targets(train_size, seed):
    chosen = digits(train_size, seed)
    assert len(chosen.train_images) == len(pairs(chosen)) == train_size
    assert pairs(chosen) <= pairs(digits())


def test_the_seed_decides_which_images_are_taken():
    first, again, other = (
        load_dataset("digits", data_dir=NOWHERE, train_size=50, seed=seed).train_images for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not np.array_equal(np.unique(first.flatten(1), axis=0), np.unique(other.flatten(1), axis=0))


def test_a_small_choice_has_images_of_every_class():
    assert len(digits(150, 3).train_targets.unique()) == 10


@pytest.mark.parametrize("train_size", [-1, 0, 1348])
def test_a_train_size_that_cannot_be_is_refused(train_size):
    with pytest.raises(ValueError, match=rf"`train_size` \(={train_size}\) must be from 1 to the 1347"):
        digits(train_size)


def test_an_unknown_name_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"`name` \(='cifar'\) must be one of digits, mnist, fashion-mnist"):
        load_dataset("cifar", data_dir=NOWHERE, train_size=None, seed=0)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_images_of_28_pixels_get_2_black_pixels_on_every_side(tmp_path, name, folder):
    parts = write_raw_files(tmp_path, folder)
    dataset = load_dataset(name, data_dir=tmp_path, train_size=None, seed=0)
    loaded = {
        "train": (dataset.train_images, dataset.train_targets),
        "t10k": (dataset.test_images, dataset.test_targets),
    }
    for part, (images, targets) in loaded.items():
        pixels, classes = parts[part]
        expected = np.pad(pixels.astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))
        np.testing.assert_array_equal(images.numpy()[:, 0], expected)
        np.testing.assert_array_equal(targets.numpy(), classes)


def test_fashion_classes_have_their_names(tmp_path):
    write_raw_files(tmp_path, "FashionMNIST")
    names = load_dataset("fashion-mnist", data_dir=tmp_path, train_size=None, seed=0).class_names
    assert (len(names), names[0], names[9]) == (10, "T-shirt/top", "Ankle boot")


def test_what_is_there_is_not_downloaded(tmp_path, monkeypatch):
    write_raw_files(tmp_path)
    monkeypatch.setattr(MNIST, "download", no_network)
    assert len(load_dataset("mnist", data_dir=tmp_path, train_size=None, seed=0).test_images) == 5


def test_what_is_missing_is_downloaded(tmp_path, monkeypatch):
    def download(self):
        if not self._check_exists():
            write_raw_files(tmp_path)

    monkeypatch.setattr(MNIST, "download", download)
    assert len(load_dataset("mnist", data_dir=tmp_path, train_size=3, seed=0).train_images) == 3


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_without_files_and_network_the_folder_and_its_option_are_named(tmp_path, monkeypatch, name):
    monkeypatch.setattr(MNIST, "download", no_network)
    with pytest.raises(FileNotFoundError, match=rf"{name} is not in .*{tmp_path}.*no network.*--data-dir"):
        load_dataset(name, data_dir=tmp_path, train_size=None, seed=0)


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"{SHARED_DATA} is not there")
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_data_have_60000_training_and_10000_test_images(name):
    dataset = load_dataset(name, data_dir=SHARED_DATA, train_size=60_000, seed=0)
    assert dataset.train_images.shape == (60_000, 1, 32, 32)
    assert dataset.test_images.shape == (10_000, 1, 32, 32)
    assert torch.bincount(dataset.test_targets).min() > 800

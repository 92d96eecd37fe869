"""New backgrounds in kornia's pipelines, by kornia's own taxonomy of tests."""

import copy
import pickle

import kornia.augmentation as K
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kornia.core.exceptions import BaseError

from advbg.integrations.kornia import ReplaceBackground
from tests.integrations.reference import REAL_BACKGROUNDS, assert_composited
from tests.models import run_without_type_checks


def a_batch(count=4, channels=3, size=(10, 12), dtype=torch.float32, seed=0):
    """Random images with a block of foreground."""
    images = torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    mask = torch.zeros(count, 1, *size, dtype=dtype)
    mask[..., size[0] // 3 : -2, 2:-3] = 1
    return images, mask


def pipeline(*augmentations, **options):
    return K.AugmentationSequential(*augmentations, data_keys=["input", "mask"], **options)


# Smoke


@pytest.mark.parametrize("same_on_batch", [True, False])
@pytest.mark.parametrize("keepdim", [True, False])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_it_runs_directly_and_in_a_pipeline_and_can_be_copied(p, keepdim, same_on_batch):
    augmentation = ReplaceBackground("noise", p=p, same_on_batch=same_on_batch, keepdim=keepdim)
    for made in (augmentation, copy.deepcopy(augmentation), pickle.loads(pickle.dumps(augmentation))):
        for run in (made, pipeline(made)):
            images, _ = run(*a_batch())
            assert images.shape == (4, 3, 10, 12)
    assert f"p={p}" in repr(augmentation)


# Exception


@pytest.mark.parametrize("run", [ReplaceBackground("noise", p=1.0), pipeline(ReplaceBackground("noise", p=1.0))])
def test_images_without_a_mask_are_refused(run):
    with pytest.raises(BaseError, match="ReplaceBackground needs a mask"):
        run(a_batch()[0], data_keys=["input"])


def test_a_replay_without_a_mask_is_refused_as_well():
    augmentation = ReplaceBackground("noise", p=1.0)
    images, mask = a_batch()
    augmentation(images, mask)
    with pytest.raises(BaseError, match="ReplaceBackground needs a mask"):
        augmentation(images, params=augmentation._params, data_keys=["input"])


def test_what_cannot_be_composited_is_refused():
    images, mask = a_batch()
    augmentation = ReplaceBackground("noise", p=1.0)
    with pytest.raises(ValueError, match=r"`image` ranges over .* before images are normalised"):
        augmentation(images * 4 - 2, mask)
    with pytest.raises(ValueError, match=r"`mask` ranges over \[0, 255\]"):
        augmentation(images, mask * 255)
    with pytest.raises(ValueError, match="`mask` has shape"):
        augmentation(images, mask.repeat(1, 2, 1, 1))
    with pytest.raises(TypeError):
        augmentation((images * 255).byte(), mask)


@pytest.mark.parametrize("p", [-0.1, 1.5])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=rf"`p` \(={p}\) must be a probability"):
        ReplaceBackground("noise", p=p)


# Cardinality


@settings(deadline=None, max_examples=25)
@given(
    count=st.integers(1, 4),
    channels=st.sampled_from([1, 3, 5]),
    size=st.tuples(st.integers(6, 20), st.integers(6, 20)),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
    mask_kind=st.sampled_from(["bool", "flat", "soft"]),
)
def test_images_of_every_shape_and_dtype_keep_them(count, channels, size, dtype, mask_kind):
    images, mask = a_batch(count, channels, size, dtype)
    mask = {"bool": mask.bool(), "flat": mask[:, 0], "soft": mask / 2}[mask_kind]
    changed, after = pipeline(ReplaceBackground("noise", p=1.0))(images, mask)
    assert (changed.shape, changed.dtype) == (images.shape, dtype)
    assert torch.equal(after.view(mask.shape), mask)
    direct, same = ReplaceBackground("noise", p=1.0)(images, mask)
    assert direct.shape == images.shape
    assert same is mask


def test_an_image_without_a_batch_comes_back_without_one_under_keepdim():
    images, mask = a_batch(1)
    for run in (
        ReplaceBackground("noise", p=1.0, keepdim=True),
        pipeline(ReplaceBackground("noise", p=1.0), keepdim=True),
    ):
        assert run(images[0], mask[0])[0].shape == (3, 10, 12)
        assert run(images[0], mask[0, 0])[0].shape == (3, 10, 12)
    assert ReplaceBackground("noise", p=1.0)(images[0], mask[0])[0].shape == (1, 3, 10, 12)


# Feature


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), channels=st.sampled_from([1, 3]), dtype=st.sampled_from(["float32", "float64"]))
def test_images_are_composited_as_by_numpy(seed, channels, dtype):
    images, _ = a_batch(channels=channels, dtype=getattr(torch, dtype), seed=seed)
    weight = torch.rand(4, 1, 10, 12, generator=torch.Generator().manual_seed(seed + 1))
    weight[:, :, :3] = 1
    background = np.random.default_rng(seed).random((channels, 10, 12), dtype=np.float32)
    changed, _ = pipeline(ReplaceBackground(torch.from_numpy(background), p=1.0))(images, weight)
    assert_composited(changed, images, weight, background[None])


def test_p_is_the_share_of_images_and_the_others_stay_bit_for_bit():
    torch.manual_seed(0)
    images, mask = a_batch(400, 1, (6, 6))
    changed, _ = pipeline(ReplaceBackground("noise", p=0.3))(images, mask)
    share = (changed != images).flatten(1).any(dim=1).float().mean()
    assert 0.23 < share < 0.37


def test_same_on_batch_gives_all_images_one_background():
    images, _ = a_batch()
    mask = torch.zeros(4, 1, 10, 12)
    mask[:, :, 0, 0] = 1
    for same in (True, False):
        changed, _ = pipeline(ReplaceBackground("noise", p=1.0, same_on_batch=same))(images, mask)
        assert torch.equal(changed[0, :, 1:], changed[1, :, 1:]) is same


def test_masks_that_moved_with_their_images_are_those_that_count():
    images, mask = a_batch()
    run = pipeline(K.RandomHorizontalFlip(p=1.0), ReplaceBackground("black", p=1.0), K.RandomCrop((8, 8)))
    changed, moved = run(images, mask)
    assert changed.shape[-2:] == moved.shape[-2:] == (8, 8)
    assert torch.equal((changed > 0).any(dim=1, keepdim=True).float(), moved)
    flipped, _ = pipeline(run[0], run[1])(images, mask)
    assert torch.equal(flipped, (images * mask).flip(-1))


def test_a_replay_makes_the_same_images():
    images, mask = a_batch()
    run = pipeline(K.RandomHorizontalFlip(p=0.5), ReplaceBackground("noise", p=0.7))
    first, _ = run(images, mask)
    drawn = run._params
    assert not torch.equal(run(images, mask)[0], first)
    again, _ = run(images, mask, params=drawn)
    assert torch.equal(again, first)


@pytest.mark.parametrize("wrap", [pipeline, lambda augmentation: augmentation], ids=["pipeline", "direct"])
def test_a_replay_on_other_images_takes_their_own_masks(wrap):
    (images, mask), (others, block) = a_batch(), a_batch(seed=1)
    mask[:], block[..., 0, 0] = 0, 1
    mask[..., 0, 0] = 1  # the first images show all of their backgrounds but this pixel
    run = wrap(ReplaceBackground("noise", p=1.0))
    first, _ = run(images, mask)
    replayed, _ = run(others, block, params=run._params)
    assert torch.equal(replayed, torch.where(block == 1, others, first))


def test_what_an_augmentation_keeps_of_a_pipeline_holds_no_mask_for_other_images():
    (images, mask), (others, _) = a_batch(), a_batch(seed=1)
    augmentation = ReplaceBackground("black", p=1.0)
    pipeline(augmentation)(images, mask)
    replayed, _ = augmentation(others, 1 - mask, params=augmentation._params)
    assert torch.equal(replayed, others * (1 - mask))


def test_the_same_global_seed_makes_the_same_images():
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(pipeline(ReplaceBackground("noise", p=0.8))(*a_batch())[0])
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_an_image_without_an_object_stays_as_it_is():
    images, mask = a_batch()
    mask[1] = 0
    changed, _ = pipeline(ReplaceBackground("noise", p=1.0))(images, mask)
    assert torch.equal(changed[1], images[1])
    assert not torch.equal(changed[0], images[0])


@pytest.mark.skipif(not REAL_BACKGROUNDS.is_dir(), reason=f"{REAL_BACKGROUNDS} is not there")
def test_photographs_are_put_behind_objects():
    torch.manual_seed(0)
    images, mask = a_batch(2)
    changed, _ = pipeline(ReplaceBackground(REAL_BACKGROUNDS, p=1.0))(images, mask)
    assert torch.equal(changed * mask, images * mask)
    assert ((changed != images).float().mean(dim=1, keepdim=True)[mask == 0] > 0).float().mean() > 0.9


# Gradcheck


def test_gradients_reach_the_images_through_the_foreground():
    images, mask = a_batch(2, 1, (6, 7), torch.float64)
    augmentation = ReplaceBackground("noise", p=1.0)
    augmentation(images, mask)
    drawn = augmentation._params

    def composite(images):
        return augmentation(images, mask, params=drawn)[0]

    assert torch.autograd.gradcheck(composite, (images.requires_grad_(),))
    composite(images).sum().backward()
    assert torch.equal(images.grad, mask)


# Dynamo


@pytest.mark.slow  # half a minute on a busy machine
def test_the_apply_step_compiles_without_a_graph_break():
    run_without_type_checks("""
        import torch
        from advbg.integrations.kornia import ReplaceBackground

        images, mask = torch.rand(4, 3, 10, 12), torch.rand(4, 1, 10, 12)
        augmentation = ReplaceBackground("noise", p=0.5)
        drawn = augmentation.forward_parameters(images.shape)
        params = augmentation.params_from_input(images, mask, data_keys=augmentation.data_keys, params=drawn)
        compiled = torch.compile(augmentation.apply_transform, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(images, params, {}), augmentation.apply_transform(images, params, {}))
    """)

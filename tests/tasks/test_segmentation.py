"""Label maps as masks, and what becomes of them before other backgrounds."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import advbg
from advbg import AdversarialBackground, Schedule
from advbg.tasks import Segmentation
from tests.models import a_batch
from tests.plugins import plugged


def _label_maps(size: tuple[int, int] = (32, 32)) -> Tensor:
    """Two classes side by side in the middle, background around, a frame of pixels to ignore between."""
    labels = torch.zeros(8, *size, dtype=torch.int64)
    labels[:, 7:25, 7:25] = 255
    labels[:, 8:24, 8:16], labels[:, 8:24, 16:24] = 1, 2
    return labels


def _wrapper(**options: Any) -> AdversarialBackground:
    """Shows what a model would see."""
    options = {"task": "segmentation", "schedule": Schedule(0, 50), "clean_share": 0.0, "halo": 0.0} | options
    wrapper = AdversarialBackground(nn.Identity(), **options)
    wrapper.companions.attached = True
    return wrapper


def test_the_label_map_is_the_mask_and_spares_the_mask_phase() -> None:
    wrapper, labels = _wrapper(), _label_maps()
    images = torch.rand(8, 3, 32, 32)
    assert wrapper.phase == "mask"
    seen = wrapper(images, targets=labels)
    assert wrapper.phase == "adversarial"
    kept = (seen == images).all(dim=1)
    assert kept[labels != 0].all()
    assert not kept[labels == 0].any()
    assert torch.equal(wrapper.targets, labels)


def test_without_targets_there_is_a_warning_and_masks_are_learned_from_dense_outputs() -> None:
    wrapper = AdversarialBackground(nn.Conv2d(3, 4, 3, padding=1), task="segmentation", schedule=Schedule(0, 1))
    wrapper.companions.attached = True
    with pytest.warns(UserWarning, match=r"`task` \(='segmentation'\) changes targets .* without `targets=`"):
        assert wrapper(a_batch()[0]).shape == (8, 4, 32, 32)
    wrapper(a_batch()[0])
    assert wrapper.phase == "mask"
    assert 0 < wrapper.companions.mask_loss < 10


def test_labels_of_replaced_pixels_become_background_and_those_to_ignore_stay() -> None:
    wrapper, labels = _wrapper(clean_share=0.5), _label_maps()
    images = torch.rand(8, 3, 32, 32)
    left = torch.zeros(8, 32, 32, dtype=torch.bool)
    left[:, :, :16] = True
    seen = wrapper(images, mask=left, targets=labels)
    changed = (seen != images).any(dim=1)
    per_image = changed.flatten(1).any(dim=1)
    assert 0 < per_image.sum() < 8
    expected = torch.where(changed & (labels == 2), 0, labels)
    assert torch.equal(wrapper.targets, expected)
    assert (expected[per_image] != labels[per_image]).any()
    assert torch.equal(labels, _label_maps())


def test_of_several_background_labels_replaced_pixels_get_the_first() -> None:
    plugin = Segmentation("street", background=(7, 3), ignore=(0,))
    labels = torch.full((2, 1, 6, 6), 3)
    labels[:, :, 2:4, 2:4], labels[:, :, 0] = 1, 0
    with plugged(plugin):
        wrapper = _wrapper(task="street", schedule=Schedule(0, 0))
        images = torch.rand(2, 3, 6, 6)
        seen = wrapper(images, targets=labels)
        assert torch.equal((seen == images).all(dim=1, keepdim=True), labels != 3)
        assert torch.equal(wrapper.targets, torch.where(labels == 3, 7, labels))


def test_an_image_of_background_alone_stays_as_it_is_with_its_labels() -> None:
    with plugged(Segmentation("sky", background=(9, 4))):
        wrapper = _wrapper(task="sky")
        images, labels = torch.rand(2, 3, 32, 32), torch.full((2, 32, 32), 4)
        assert torch.equal(wrapper(images, targets=labels), images)
        assert torch.equal(wrapper.targets, labels)


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(4, 90),
    width=st.integers(4, 90),
    channel=st.booleans(),
    dtype=st.sampled_from([torch.uint8, torch.int32, torch.int64]),
    halo=st.sampled_from([0.0, 0.2]),
)
def test_labels_keep_shape_and_dtype_and_agree_with_the_pixels_that_were_kept(
    height: int, width: int, channel: bool, dtype: torch.dtype, halo: float
) -> None:
    wrapper = _wrapper(halo=halo)
    images = torch.rand(3, 3, height, width)
    labels = torch.zeros(3, height, width, dtype=dtype)
    labels[:, 1:3, 1:3] = 2
    given_labels = labels[:, None] if channel else labels
    seen = wrapper(images, targets=given_labels)
    assert wrapper.targets.shape == given_labels.shape
    assert wrapper.targets.dtype == dtype
    # With a halo more than the object keeps its pixels; the object always does.
    assert torch.equal(wrapper.targets, given_labels)
    assert (seen == images).all(dim=1)[labels == 2].all()


def test_an_attached_model_gets_its_label_maps_within_the_context() -> None:
    model, labels, images = nn.Sequential(nn.Identity()), _label_maps(), torch.rand(8, 3, 32, 32)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    attachment = advbg.attach(model, optimizer, task="segmentation", schedule=Schedule(0, 5), clean_share=0.0, halo=0.0)
    with attachment.given(targets=labels):
        seen = model(images)
        assert torch.equal((seen == images).all(dim=1), labels != 0)
    assert torch.equal(attachment.companions.targets, labels)
    others = labels + 1
    with attachment.given(targets=others):
        model.eval()(images)
    assert attachment.companions.targets is others


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.zeros(8, 32, 32), "whole-numbered labels, got torch.float32"),
        (torch.zeros(8, 32, 32, dtype=torch.bool), "whole-numbered labels, got torch.bool"),
        (
            torch.zeros(8, 16, 16, dtype=torch.int64),
            r"shape \(8, 16, 16\), but .* need label maps of shape \(8, 32, 32\)",
        ),
        (torch.zeros(8, dtype=torch.int64), r"shape \(8,\)"),
        ([1, 2], "whole-numbered labels, got list"),
    ],
)
def test_targets_that_are_no_label_maps_are_refused(targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"plugin 'segmentation' in `advbg_foreground`: .*{message}"):
        _wrapper()(a_batch()[0], targets=targets)


@pytest.mark.parametrize("labels", [{"background": ()}, {"background": (255,)}])
def test_a_background_that_is_none_or_to_be_ignored_is_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match="`background`"):
        Segmentation("mine", **labels)


@pytest.mark.parametrize("label", [300, 256, -1])
def test_a_label_of_the_background_that_the_targets_cannot_hold_is_refused(label: int) -> None:
    with plugged(Segmentation("wide", background=(label, 0)), "wide"):
        wrapper = _wrapper(task="wide", clean_share=0.0)
        labels = _label_maps().to(torch.uint8)
        with pytest.raises(ValueError, match=rf"`targets` of torch\.uint8 cannot hold the label {label} of the"):
            wrapper(torch.rand(8, 3, 32, 32), targets=labels)


def test_where_nothing_of_a_soft_mask_can_be_seen_neither_image_nor_labels_change() -> None:
    wrapper, labels = _wrapper(clean_share=0.0, binarization="none"), _label_maps()
    images = torch.rand(8, 3, 32, 32)
    assert torch.equal(wrapper(images, mask=torch.full((8, 32, 32), 1e-6), targets=labels), images)
    assert torch.equal(wrapper.targets, labels)


def test_pixels_that_were_replaced_for_the_most_part_become_background_and_no_others() -> None:
    wrapper, labels = _wrapper(), torch.ones(3, 32, 32, dtype=torch.int64)
    mask = torch.tensor([0.3, 0.5, 0.7])[:, None, None].expand(-1, 32, 32)
    wrapper(torch.rand(3, 3, 32, 32), mask=mask, targets=labels)
    assert wrapper.targets.flatten(1).unique(dim=1).flatten().tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("label", "dtype", "kept"),
    [(-100, torch.int64, True), (255, torch.int64, True), (255, torch.uint8, True), (156, torch.uint8, False)],
)
def test_cross_entropys_label_to_ignore_and_that_of_data_sets_are_and_no_byte_is_taken_for_them(
    label: int, dtype: torch.dtype, kept: bool
) -> None:
    # 156 is -100 to whoever takes its byte for a signed one.
    wrapper, labels = _wrapper(), torch.full((2, 32, 32), label, dtype=dtype)
    mask = torch.zeros(2, 32, 32)
    mask[:, 0] = 1
    wrapper(torch.rand(2, 3, 32, 32), mask=mask, targets=labels)
    assert (wrapper.targets[:, 1:] == (label if kept else 0)).all()
    assert (wrapper.targets[:, 0] == label).all()

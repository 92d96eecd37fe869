"""Masks against silhouettes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import jaccard_score, recall_score

from advbg.benchmark.mask_quality import filled_silhouettes, rate_companions, rate_masks
from tests.models import a_batch, adversarial_wrapper

_masks = arrays.arrays(bool, (3, 1, 4, 5))


@given(_masks, _masks)
def test_overlap_and_recall_are_means_over_images_of_scikit_learns(masks, silhouettes):
    silhouettes[:, 0, 0, 0] = True
    rated = rate_masks(torch.from_numpy(masks), torch.from_numpy(silhouettes))
    pairs = [(silhouette.ravel(), mask.ravel()) for silhouette, mask in zip(silhouettes, masks, strict=True)]
    assert rated.iou == pytest.approx(np.mean([jaccard_score(*pair) for pair in pairs]), abs=1e-5)
    assert rated.recall == pytest.approx(np.mean([recall_score(*pair) for pair in pairs]), abs=1e-5)
    assert rated.area == pytest.approx(masks.mean(), abs=1e-5)


@given(st.integers(1, 3))
def test_holes_are_filled_and_bays_are_not(channels):
    images = torch.zeros(2, channels, 7, 7)
    images[:, 0, 1:6, 1:6] = 0.001
    images[:, 0, 3, 3] = 0.0
    images[1, 0, 3, 3:] = 0.0
    filled = filled_silhouettes(images)
    assert filled[0, 0, 3, 3]
    assert not filled[1, 0, 3, 3]
    assert filled[0].sum() == 25


def test_companions_are_rated_by_what_they_composite_with():
    wrapper = adversarial_wrapper()
    images, _ = a_batch(4)
    assert rate_companions(wrapper.companions, images).iou == 1.0


def test_masks_of_a_network_that_has_learned_nothing_are_not_rated():
    wrapper = adversarial_wrapper(mask_generator="unet")
    images, _ = a_batch(4)
    with pytest.raises(ValueError, match="the mask generator 'unet' has learned nothing"):
        rate_companions(wrapper.companions, images)


def test_soft_masks_count_where_they_show_more_of_the_object_than_of_the_background():
    def soft(pixels):
        return 0.4 + 0.2 * (pixels > 0).any(dim=1, keepdim=True)

    wrapper = adversarial_wrapper(mask_generator=soft, binarization="none")
    images, _ = a_batch(4)
    assert rate_companions(wrapper.companions, images).iou == 1.0

"""The paper's augmentation."""

import torch

from advbg.benchmark.augmentation import PaperAugmentation


def _dots(count=64):
    images = torch.zeros(count, 1, 32, 32)
    images[:, :, 12:20, 14:18] = 0.5
    return images


def test_a_seed_gives_the_same_images_and_another_gives_others():
    images = _dots()
    assert torch.equal(PaperAugmentation(1)(images), PaperAugmentation(1)(images))
    assert not torch.equal(PaperAugmentation(1)(images), PaperAugmentation(2)(images))


def test_every_image_gets_its_own_draw_and_the_input_stays_as_it_was():
    images = _dots()
    augmented = PaperAugmentation(0)(images)
    assert len({image.numpy().tobytes() for image in augmented}) == len(images)
    assert torch.equal(images, _dots())


def test_brightness_changes_by_a_fifth_at_most_and_stays_in_the_unit_interval():
    brightest = PaperAugmentation(0)(_dots()).amax(dim=(1, 2, 3))
    assert 0.4 <= brightest.min() < 0.45
    assert 0.55 < brightest.max() <= 0.6
    assert PaperAugmentation(0)(2 * _dots()).max() <= 1


def test_objects_move_by_15_percent_of_the_side_at_most():
    augmented = PaperAugmentation(0)(_dots())
    places = torch.arange(32.0)
    for axis in (2, 3):
        profile = augmented.sum(dim=(1, 5 - axis))
        middles = (profile * places).sum(dim=1) / profile.sum(dim=1)
        moved = (middles - 15.5).abs().max()
        assert 3 < moved < 0.15 * 32 + 1.5


def test_what_a_shift_uncovers_is_black():
    corners = PaperAugmentation(0)(_dots())[:, :, ::31, ::31]
    assert not corners.any()

"""Masks for short trainings."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm import create_model
from torch import nn

from advbg import AdversarialBackground
from advbg.benchmark.mask_quality import rate_masks
from advbg.masks import SufficiencyNecessity
from advbg.masks.objectives import output_distance
from advbg.training.fit import fit
from advbg.training.masks import (
    GuidedObjective,
    guess_silhouettes,
    plainness,
    quick_masks,
    takes_small_images,
    teach_first_guess,
)
from advbg.training.settings import FitSettings
from tests.training.made_up import some_data


def companions(**options):
    return AdversarialBackground(create_model("test_resnet", num_classes=3), **options).companions


def test_what_differs_from_the_border_is_guessed_to_be_the_object() -> None:
    data = some_data(silhouettes=True)
    guessed = guess_silhouettes(data.images / 255)
    assert torch.equal(guessed.bool(), data.silhouettes)


def test_holes_belong_to_the_object() -> None:
    pixels = torch.ones(1, 3, 32, 32)
    pixels[..., 8:24, 8:24] = 0.3
    pixels[..., 14:18, 14:18] = 1.0
    assert guess_silhouettes(pixels)[0, 0, 8:24, 8:24].min() == 1
    assert guess_silhouettes(pixels).sum() == 256


def test_shades_close_to_the_background_belong_to_the_object() -> None:
    pixels = torch.ones(1, 3, 32, 32)
    pixels[..., 8:24, 8:16] = 0.0
    pixels[..., 8:24, 16:24] = 0.7
    assert guess_silhouettes(pixels).sum() == 256


@settings(max_examples=20, deadline=None)
@given(value=st.floats(0, 1, width=32), height=st.integers(1, 20), width=st.integers(1, 20))
def test_a_flat_image_has_no_object_and_no_missing_number(value, height, width) -> None:
    guessed = guess_silhouettes(torch.full((2, 3, height, width), value))
    assert not guessed.any()
    assert not guess_silhouettes(
        torch.full((2, 3, height, width), value) + 1e-6 * torch.rand(2, 3, height, width)
    ).any()


@pytest.mark.parametrize(("options", "least"), [({}, 0.7), (quick_masks({}), 0.9)])
def test_the_mask_generator_learns_the_guess(options, least) -> None:
    data, learner = some_data(60, silhouettes=True), companions(**options)
    before = torch.get_rng_state()
    teach_first_guess(learner, data.images, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    images = learner.pixel_space.from_pixels(data.images / 255)
    assert rate_masks(learner.foreground(images) > 0.5, data.silhouettes).iou > least
    assert learner.step_count == 0
    assert not learner.mask_optimizer.state
    assert learner.mask_optimizer.param_groups[0]["lr"] == pytest.approx(3e-4)


def test_the_seed_chooses_the_images_of_the_first_guess(monkeypatch) -> None:
    monkeypatch.setattr("advbg.training.masks._FIRST_STEPS", 2)
    data, learned = some_data(60), []
    for seed in (0, 0, 1):
        learner = companions()
        teach_first_guess(learner, data.images, seed=seed)
        learned.append(torch.cat([parameter.flatten() for parameter in learner.mask_generator.parameters()]))
    assert torch.equal(learned[0], learned[1])
    assert not torch.equal(learned[0], learned[2])


def test_options_that_name_other_masks_are_kept() -> None:
    said = {"mask_generator": "paper", "halo": 0.25}
    options = quick_masks(said)
    assert (options["mask_generator"], options["halo"]) == ("paper", 0.25)
    assert isinstance(options["mask_objective"], GuidedObjective)


@pytest.mark.parametrize("name", ["paper", "nonzero"])
def test_other_mask_generators_are_left_as_they_are(name) -> None:
    learner, untouched = companions(mask_generator=name), companions(mask_generator=name)
    data = some_data()
    teach_first_guess(learner, data.images, seed=0)
    untouched.build(untouched.pixel_space.from_pixels(data.images / 255))
    for ours, theirs in zip(learner.parameters(), untouched.parameters(), strict=True):
        assert torch.equal(ours, theirs)


class Spy(nn.Module):
    """Keeps the sizes of what it sees."""

    def __init__(self):
        super().__init__()
        self.sizes = set()

    def forward(self, images):
        self.sizes.add(tuple(images.shape[-2:]))
        return images.mean(dim=(2, 3))


@pytest.mark.parametrize(("size", "seen"), [((128, 96), (64, 48)), ((64, 64), (64, 64)), ((20, 30), (20, 30))])
def test_masks_are_rated_on_images_of_64_pixels_at_most(size, seen) -> None:
    model = Spy()
    loss = GuidedObjective()(model, torch.rand(2, 3, *size), torch.rand(2, 1, *size))
    assert model.sizes == {seen}
    assert loss.isfinite()


@pytest.mark.parametrize(
    ("name", "options", "takes"),
    [("test_resnet", {}, True), ("test_vit3", {"img_size": 96}, False), ("inception_v3", {"aux_logits": False}, False)],
)
def test_models_that_cannot_be_called_on_small_images_are_found_out(name, options, takes) -> None:
    model = create_model(name, num_classes=3, **options).train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert takes_small_images(model, torch.zeros(1, 3, 96, 96, dtype=torch.uint8)) is takes
    assert model.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_such_models_rate_masks_on_whole_images_and_are_trained_to_the_end(monkeypatch) -> None:
    model = Spy()
    GuidedObjective(shrinks=False)(model, torch.rand(2, 3, 128, 96), torch.rand(2, 1, 128, 96))
    assert model.sizes == {(128, 96)}
    monkeypatch.setattr("advbg.training.masks._FIRST_STEPS", 1)
    small = some_data()
    large = replace(
        small,
        images=small.images.repeat_interleave(3, 2).repeat_interleave(3, 3),
        held_out_images=small.held_out_images.repeat_interleave(3, 2).repeat_interleave(3, 3),
    )
    vit = create_model("test_vit3", num_classes=3, img_size=96)
    fitted = fit(vit, large, FitSettings(epochs=2, batch_size=6, classifier_share=0.2, mask_share=0.4))
    assert [phase for epoch in fitted.history for phase in epoch["phases"]][-1] == "adversarial"
    assert "mask" in fitted.phase_seconds


def test_small_images_are_rated_as_the_default_rates_them_but_for_the_guess() -> None:
    images, mask = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32)
    loss = GuidedObjective(guess_weight=0.0)(Spy(), images, mask)
    assert torch.equal(loss, SufficiencyNecessity(distance=output_distance)(Spy(), images, mask))


def test_masks_are_held_to_the_guess_where_a_border_is_plain() -> None:
    data = some_data(silhouettes=True)
    images, guess = data.images / 255, data.silhouettes.float()
    loss = {name: GuidedObjective(guess_weight=weight) for name, weight in (("with", 2.0), ("without", 0.0))}
    for mask in (guess * 0.8 + 0.1, torch.full_like(guess, 0.5), (1 - guess) * 0.8 + 0.1):
        difference = loss["with"](Spy(), images, mask) - loss["without"](Spy(), images, mask)
        expected = 2 * torch.nn.BCELoss()(mask.double(), guess.double())
        assert difference.item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_guess_that_reaches_the_border_is_trusted_less() -> None:
    guess = torch.zeros(3, 1, 16, 16)
    guess[1, :, 4:12, 4:12] = 1
    guess[2, :, :8] = 1  # the top, and the upper halves of both sides
    assert plainness(guess).tolist() == pytest.approx([1.0, 1.0, 1 - (16 + 8 + 8) / 64])


def test_each_image_holds_its_mask_to_the_guess_as_much_as_its_own_border_is_plain() -> None:
    images = torch.ones(2, 3, 32, 32)
    images[0, :, 8:24, 8:24] = 0.2
    images[1, :, :, :12] = 0.2  # which reaches the border
    mask = torch.rand(2, 1, 32, 32)
    mask[1] /= 8
    guess = guess_silhouettes(images)
    apart = [
        nn.functional.binary_cross_entropy(*pair).item() for pair in zip(mask.double(), guess.double(), strict=True)
    ]
    trust = plainness(guess).tolist()
    assert trust[1] < 0.7 < trust[0]
    difference = GuidedObjective(guess_weight=2.0)(Spy(), images, mask) - GuidedObjective(guess_weight=0.0)(
        Spy(), images, mask
    )
    expected = trust[0] * apart[0] + trust[1] * apart[1]  # twice the mean of two
    assert difference.item() == pytest.approx(expected, rel=1e-4)

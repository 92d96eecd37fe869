"""What trains beside a model: its mask generator and its background source, with their own optimisers and state."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from advbg.backgrounds import TrainableSource, is_ours
from advbg.batch_norm import keep_held
from advbg.candidates import Judge, check_judge, draw_composites
from advbg.companions_state import extra_state, follow_parameters, take_extra_state
from advbg.compositing import CompositeParameters, check_parameters, composite_with, cut_out
from advbg.distributed import rank, synchronize
from advbg.first_batch import check_masks, check_training_batch
from advbg.full_precision import around_the_model, in_full_precision
from advbg.masks import binarize, check_mask, is_learned
from advbg.masks.learning import check_learned, learn_masks, make_masks
from advbg.masks.resolution import enlarge, reduced_size
from advbg.observation import Observation
from advbg.optimization import begin_batch, descend, evaluating, keeping_dtype, make_optimizer, place, reset_state
from advbg.options import Options
from advbg.pixel_space import PixelSpace, check_batch
from advbg.schedule import Phase
from advbg.task_hooks import change_targets, find_foreground


class Companions(nn.Module):
    """The mask generator, the background source, their optimisers, the step count and the random state.

    They are built with the first batch, whose shape they take. What `state_dict()` holds goes on bit for bit on a CPU.

    Args:
        pixel_space: the normalisation of the model's input.
        options: the choices.
        device: where the model lies; `to()` moves the companions as any module.

    Attributes:
        step_count: steps of the model's optimiser so far.
        batches: that the model has been trained with through these companions.
        masks_given: whether a mask came with the first batch, so that none have to be learned.
        image_shape: channels, height and width of the first batch, or None before it.
        attached: whether an optimiser steps the companions.
        attachment: the `Attachment` by which it does, or None.
        given: what `Attachment.given` says about the next images.
        source_checked: whether what the source makes is known to be pixels.
        masks_checked: whether the masks that were learned have been looked at.
        learning: whether the model is being called for the companions' sake, not by the user.
        mask_loss: of the last batch of the mask phase, or None before it.
        targets: of the last batch, changed where its backgrounds were; None where it came without.
        observation: what plugins are told.
    """

    def __init__(self, pixel_space: PixelSpace, options: Options, device: torch.device) -> None:
        super().__init__()
        self.pixel_space, self.options, self.device = pixel_space, options, device
        self.step_count = self.batches = 0
        self.masks_given = self.attached = self.learning = self.source_checked = self.masks_checked = False
        self.attachment: Any | None = None
        self.given: dict[str, Any] = {}
        self.mask_loss: Float[Tensor, ""] | None = None
        self.targets: Any | None = None
        self.observation = Observation()
        self.image_shape: tuple[int, int, int] | None = None

    @property
    def phase(self) -> Phase:
        """The current phase: `classifier`, `mask` or `adversarial`."""
        generator = self.options.mask_generator if self.image_shape is None else self.mask_generator
        return self.options.schedule.phase(self.step_count, masks_given=self.masks_given or not is_learned(generator))

    @torch.compiler.disable  # what it draws differs in every step, and would be compiled each time
    @around_the_model
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        model: nn.Module,
        call: Callable[[Tensor], Any],
        images: Tensor,
        mask: Tensor | None = None,
        targets: Any | None = None,
        params: CompositeParameters | None = None,
    ) -> Float[Tensor, "batch channel height width"]:
        """Do the phase's work and say which images the model shall see.

        Args:
            model: in evaluation mode while masks are learned and candidates compared; with `hold_statistics`, its
                BatchNorm stays in it.
            call: calls it on images, for these two only.
            images: the model's input.
            mask: the foreground where it is known, as `check_mask` takes it.
            targets: for the mask objective, the task's plugin and the choice among candidates.
            params: draws to replay instead of new ones; they make no max step.

        Returns:
            The images themselves or composites, of the same shape, dtype and layout.

        Raises:
            TypeError: where `images`, `mask` or `params` are something else.
            ValueError: where `images` or `mask` cannot be used, `params` are of other images, or no mask is given,
                learned or going to be.
        """
        first = self.image_shape is None
        self.build(images)
        if self.options.hold_statistics:
            keep_held(model, first=first)
        mask = self.given.get("mask") if mask is None else mask
        targets = self.given.get("targets") if targets is None else targets
        params = self.given.get("params") if params is None else params
        if params is not None:
            check_parameters(params, images)
        self.targets, judge = targets, Judge(model, call, targets)
        found = find_foreground(self.options.task, images, targets)
        mask = found if mask is None else check_mask(mask, images)
        if model.training:
            check_training_batch(self, images, mask, targets)
            check_judge(self, judge, images)
            self.batches += torch.is_grad_enabled()
            self.observation.see_phase(self)
        if params is None:
            begin_batch(model, self.source)
            if self.phase == "mask" and torch.is_grad_enabled():
                self._learn_masks(model, call, images, targets)
            if self.phase != "adversarial":
                return images
            mask = self._learned_mask(images) if mask is None else mask
            params = self.draw(images, mask, judge)
        elif mask is None and self.phase == "adversarial":
            mask = self._learned_mask(images)
        foreground = self.foreground(images, mask=mask, params=params)
        self.targets = change_targets(self.options.task, targets, foreground, params.composited)
        composites = composite_with(params, images, foreground, self.pixel_space)
        if model.training:
            self.observation.see_composites(self, images, foreground, params.backgrounds, composites)
        return composites

    def _learn_masks(self, model: nn.Module, call: Callable[[Tensor], Any], images: Tensor, targets: Any) -> None:
        generator, objective, task = self.mask_generator, self.options.mask_objective, self.options.task
        self.learning = True
        try:
            self.mask_loss = learn_masks(generator, objective, model, call, images, targets, self.pixel_space, task)
        finally:
            self.learning = False
        self.observation.report("mask_loss", self.mask_loss)

    @in_full_precision
    def draw(self, images: Tensor, mask: Tensor | None = None, judge: Judge | None = None) -> CompositeParameters:
        """Draw what the current phase composites these images with; before the adversarial phase, nothing.

        Args:
            images: the model's input; without `clutter`, `distractors` and `candidates`, only shape and device matter.
            mask: for these, the foreground where it is known: float of shape (batch, 1, rows, columns).
            judge: an `advbg.candidates.Judge`, who chooses where there are several `candidates`.

        Returns:
            Draws whose backgrounds carry the reversed gradient where the source can be trained.

        Raises:
            TypeError: where `images` or what the source makes is no tensor.
            ValueError: where `images` cannot be used, either of them needs masks and there are none, or nobody chooses.
        """
        self.build(images)
        options = self.options
        if self.phase != "adversarial":
            nothing = torch.zeros(len(images), dtype=torch.int64, device=images.device)
            return CompositeParameters(torch.zeros_like(images, dtype=torch.float32), nothing.bool(), nothing)
        if options.candidates > 1 and judge is None:
            raise ValueError(f"among `candidates` (={options.candidates}) a model chooses: pass `judge`")
        if mask is None and (options.clutter or options.distractors or options.candidates > 1):
            mask = self._learned_mask(images)
        return draw_composites(self, judge, images, mask)

    @torch.no_grad()
    @in_full_precision
    def soft_mask(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 rows columns"]:
        """The mask generator's own output in [0, 1], at most 64 pixels a side."""
        self.build(images)
        with torch.autocast(images.device.type, enabled=False), evaluating(self.mask_generator):
            return make_masks(self.mask_generator, images, self.pixel_space)

    def binarize(self, mask: Float[Tensor, "batch 1 rows columns"]) -> Float[Tensor, "batch 1 rows columns"]:
        """Make soft masks in [0, 1] hard, as the options say."""
        return binarize(mask, self.options.binarization, area=self.options.kept_area)

    @torch.no_grad()
    def foreground(
        self,
        images: Float[Tensor, "batch channel height width"],
        *,
        mask: Float[Tensor, "batch 1 rows columns"] | None = None,
        params: CompositeParameters | None = None,
    ) -> Float[Tensor, "batch 1 height width"]:
        """The mask that images are composited with: given, at their size or small; or learned; widened by its halo."""
        full = mask if mask is not None else self.binarize(self.soft_mask(images))
        if params is None:
            return enlarge(full, images.shape[-2:])
        return cut_out(params, full, images.shape[-2:], self.largest_halo(images))

    def step(self) -> None:
        """Step the companions after a step of the model's optimiser; `attach` calls it."""
        phase = self.phase
        if self.image_shape is not None:
            if phase == "mask":
                synchronize(self.mask_generator, self.mask_optimizer)
                descend(self.mask_optimizer)
            elif phase == "adversarial":
                descend(self.background_optimizer)
                if isinstance(self.source, TrainableSource):
                    reset_state(self.background_optimizer, self.source.advance(self.generator) or ())
        self.step_count += 1
        self.observation.see_step(self, phase)

    def report(self, **scalars: Tensor | float) -> None:
        """Tell plugins scalars of the step that only the loop knows: `report(loss=loss)`; a ValueError for others."""
        for name, value in scalars.items():
            self.observation.report(name, value)

    def build(self, images: Tensor) -> None:
        """Make the companions for images of this shape; nothing where that has been done.

        Args:
            images: float tensor of shape (batch, channel, height, width), normalised as `pixel_space` says.

        Raises:
            TypeError: where `images` is no tensor.
            ValueError: where `images` is no batch of images, does not fit the image statistics, or has other channels
                than the first batch or lies elsewhere.
        """
        check_batch(images, self.image_shape, self.device)
        if self.image_shape is None:
            self.pixel_space.check(images)
            self.device, (channels, height, width) = images.device, images.shape[1:]
            self._build((channels, height, width))

    @torch.inference_mode(False)
    @in_full_precision
    def _build(self, shape: tuple[int, int, int]) -> None:
        mask_generator, source = self.options.make_parts(shape, rank())
        self.mask_generator = place(mask_generator, self.device)
        self.generator = torch.Generator(self.device).manual_seed(self.options.seed + rank())
        self.source = place(source, self.device)
        self.source_checked = is_ours(self.options.background)
        self.mask_optimizer = make_optimizer(self.mask_generator)
        self.background_optimizer = make_optimizer(self.source)
        self.image_shape = shape

    def _learned_mask(self, images: Tensor) -> Tensor:
        """The binarised mask of a mask generator that has learned, at its own resolution."""
        check_learned(self.options.mask_generator, self.mask_optimizer)
        soft = self.soft_mask(images)
        check_masks(self, soft)
        return self.binarize(soft)

    def largest_halo(self, images: Tensor) -> int:
        """By how many pixels of the mask one is widened at most."""
        return round(min(reduced_size(images)) * self.options.halo)

    def get_extra_state(self) -> dict[str, Any]:
        """What a state dict holds beside the weights: steps, optimisers, random state, and how it was configured."""
        return extra_state(self)

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take steps, optimisers and random state from a state dict."""
        take_extra_state(self, state)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Go on where another run was saved; builds what the first batch would have built.

        Args:
            state_dict: from `state_dict()` of companions with the same options.
            strict: as for any module.
            assign: makes no difference, since optimisers know the parameters that are there.

        Raises:
            RuntimeError: where the saved companions are of another kind or shape, or had another `mean` or `std`.
        """
        extra = state_dict.get("_extra_state")
        if not isinstance(extra, Mapping) or "image_shape" not in extra:
            raise RuntimeError("`state_dict` is not from `companions.state_dict()`: it has no `_extra_state`")
        self.options.check_saved(extra["options"])
        self.pixel_space.check_saved(extra["mean"], extra["std"])
        if extra["image_shape"] is not None and self.image_shape is None:
            self._build(tuple(extra["image_shape"]))
        return super().load_state_dict(state_dict, strict=strict)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Companions":
        """Follow the model to another device, but stay in float32 whatever becomes of the model."""
        device = fn(torch.empty(0, device=self.device)).device
        moves, self.device = device != self.device and self.image_shape is not None, device
        super()._apply(keeping_dtype(fn), recurse)
        if moves:
            follow_parameters(self)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """A copy has no optimiser and no batch; targets of a teacher may hold a graph, which cannot be copied."""
        return self.__dict__ | {"targets": None, "attached": False, "attachment": None}

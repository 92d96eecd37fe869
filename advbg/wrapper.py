"""A model that is wrapped."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from advbg.attachment import Attachment, check_alone, check_not_attached, device_of, watch_optimizer
from advbg.backgrounds import Background
from advbg.candidates import Judge
from advbg.companions import Companions
from advbg.compositing import CompositeParameters
from advbg.full_precision import default_dtype
from advbg.masks import Binarization, MaskObjective, SufficiencyNecessity, check_mask
from advbg.options import Options
from advbg.pixel_space import PixelSpace
from advbg.schedule import Phase, Schedule
from advbg.task_hooks import find_foreground
from advbg.warning import warn


class AdversarialBackground(nn.Module):
    """A model that learns to ignore backgrounds: `min over (f, f_m) max over f_b of Loss` in the user's own loop.

    While the model is in training mode, by `wrapper.train()` or its own `train()`, `wrapper(images)` is what the phase
    makes of `model(images)`; in evaluation it is the model, bit for bit. `parameters()` and `state_dict()` are the
    model's own, with its own names: optimisers, clipping, EMA and checkpoints see nothing else. What learns beside it
    lives in `companions`, which has its own state.

    Args:
        model: any module from images of shape (batch, channel, height, width) to outputs.
        task: `classification`, `segmentation`, `detection`, `regression`, `reinforcement` or one that a plugin adds. It
            says whether `targets` show the foreground, how they change with the background and how outputs compare.
        mean: per-channel mean that the images were normalised with, in pixel units. By default the model's
            `pretrained_cfg` says it (timm), else images are pixels in [0, 1]. The first batch is checked against it.
        std: likewise.
        schedule: optimiser steps of the classifier and the mask phase.
        clean_share: share of the images, in the mean, that keep their own background in the adversarial phase, in
            [0, 1]; drawn for each image.
        mask_generator: `unet`, `studio` (one that also sees how far pixels are from the colour of the image's border),
            `paper`, `nonzero` (every pixel that is not black) or a module from pixels in [0, 1] to masks in [0, 1] of
            shape (batch, 1, height, width). It is shown the images shrunk to 64 pixels a side at most, and what of it
            requires a gradient is trained in the mask phase, by Adam with its attribute `learning_rate`, else 1e-3.
            One without such parameters has no mask phase.
        mask_objective: `SufficiencyNecessity()` by default, `PaperObjective()`, or anything that is called with
            (model, images, mask, targets) and returns a loss, as `advbg.masks.MaskObjective` says.
        binarization: `otsu`, `0.5`, `quantile` (the highest fifth of each mask, or as much as the `area` of a
            `PaperObjective`) or `none`.
        halo: masks are widened by a random margin of up to this share of the shorter side, in [0, 1], so that the
            width of a cut-out is no cue.
        background: `adversarial`, `random`, `scenes`, `paper`, `noise`, `black` or a `BackgroundSource` such as
            `Photographs(folder)`; or pairs of these and weights, `[("adversarial", 2), (Photographs(folder), 1)]`, of
            which each image gets one.
        placement: by how much an object may be shrunk, in [0, 1): half of the composites that show it once show it
            smaller, at any place. For `classification` only, since other tasks' targets may tell places.
        copies: share of the composites, in [0, 1], not a count: those that show their object many times over, as a
            heap or a shelf does. For `classification` only, likewise.
        lighting: how far the light of composites goes, in [0, 2]: in half of them gamma, contrast and brightness
            change by factors of up to e to its power, and brightness a little more in each channel.
        clutter: share of the backgrounds, in [0, 1], that are pieces of other images, about their objects, instead
            of the source's: what photographs have, without photographs. For `classification` only.
        distractors: how many other images' objects are put into each background, cut out, in the mean; in [0, 2]:
            none, one or two. For `classification` only.
        candidates: backgrounds that are drawn for each image, of which it gets the one before which the model answers
            worst: by the `targets` of a classifier, where they are given, otherwise farthest from its answer to the
            image as it is. Each takes one more forward pass without gradients. Not for `detection`.
        hold_statistics: whether every BatchNorm keeps the statistics that it has, in every step, whoever calls
            `train()`: for pre-trained models, since those of a studio spoil what they know. Layers whose momentum is
            None, as `update_bn` makes them for a while, gather on.
        seed: of the companions' own random stream; the global one is never touched.

    Raises:
        TypeError: where `model` is no module, or an argument is of a wrong type.
        ValueError: where an argument is out of range, or the model holds one that is wrapped or attached; the message
            names it.
    """

    companions: Companions

    def __init__(
        self,
        model: nn.Module,
        *,
        task: str = "classification",
        mean: float | Sequence[float] | None = None,
        std: float | Sequence[float] | None = None,
        schedule: Schedule | None = None,
        clean_share: float = 0.25,
        mask_generator: str | Callable[[Tensor], Tensor] = "unet",
        mask_objective: MaskObjective | None = None,
        binarization: Binarization = "otsu",
        halo: float = 1 / 16,
        background: Background = "adversarial",
        placement: float = 0.0,
        copies: float = 0.0,
        lighting: float = 0.0,
        clutter: float = 0.0,
        distractors: float = 0.0,
        candidates: int = 1,
        hold_statistics: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise TypeError(f"`model` must be an nn.Module, got {type(model).__name__}")
        check_alone(model)
        options = Options(
            task=task,
            schedule=Schedule() if schedule is None else schedule,
            clean_share=clean_share,
            mask_generator=mask_generator,
            mask_objective=SufficiencyNecessity() if mask_objective is None else mask_objective,
            binarization=binarization,
            halo=halo,
            background=background,
            placement=placement,
            copies=copies,
            lighting=lighting,
            clutter=clutter,
            distractors=distractors,
            candidates=candidates,
            hold_statistics=hold_statistics,
            seed=seed,
        )
        self.model = model
        # Not registered as a child: the companions are no part of the model.
        self.__dict__["companions"] = Companions(PixelSpace.of(model, mean, std), options, device_of(model))
        self.register_load_state_dict_pre_hook(_add_prefix)

    @property
    def phase(self) -> Phase:
        """The current phase: `classifier`, `mask` or `adversarial`."""
        return self.companions.phase

    @property
    def targets(self) -> Any:
        """The last batch's `targets`, as they are before the backgrounds that the model has just seen."""
        return self.companions.targets

    def attach(self, optimizer: torch.optim.Optimizer) -> "Attachment":
        """Let the companions step whenever the model's optimiser has stepped.

        Args:
            optimizer: the one that trains the model; with several, the one that steps once for each batch. One that
                was attached before is let go.

        Returns:
            What undoes it: `remove()`.

        Raises:
            TypeError: where `optimizer` is none.
        """
        return Attachment(self.companions, optimizer)

    def forward(
        self,
        images: Tensor,
        *args: Any,
        mask: Tensor | None = None,
        targets: Any | None = None,
        params: CompositeParameters | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call the model on the images that the phase wants it to see.

        Args:
            images: float tensor of shape (batch, channel, height, width), normalised as the model expects.
            *args: passed on to the model.
            mask: the foreground where it is known: bool, or float in [0, 1], of shape (batch, height, width) or
                (batch, 1, height, width). Where the first batch of a training has one, there is no mask
                phase, and every batch needs one.
            targets: for tasks whose targets show the foreground, for `wrapper.targets`, for the choice among
                `candidates`, and for mask objectives that compare with the truth, which the default does not.
            params: draws of `generate_parameters` to replay, in training and in evaluation.
            **kwargs: passed on to the model.

        Returns:
            The model's outputs.

        Raises:
            TypeError: where `images` or `mask` is no tensor, or the outputs are not such as the task can compare.
            ValueError: where `images` or `mask` has another shape, dtype or range, `params` are of other images, the
                model is attached as well, or there is neither a given nor a learned mask in the adversarial phase.
            RuntimeError: in a pass that activation checkpointing repeats around the wrapper.
        """
        # The model's own flag, since loops also call `train()` and `eval()` of the model alone.
        training = self.model.training
        if training or params is not None or self.companions.given.get("params") is not None:
            check_not_attached(self.model)
            if training:
                watch_optimizer(self.companions)

            def call(inputs: Tensor) -> Any:
                return self.model(inputs, *args, **kwargs)

            images = self.companions(self.model, call, images, mask=mask, targets=targets, params=params)
        else:
            if self.training and torch.is_grad_enabled():
                warn(
                    "the wrapper is in training mode, but its model in evaluation, so it sees the images as they are: "
                    "call `wrapper.train()` to train, or `wrapper.eval()` to test"
                )
            self.companions.targets = self.companions.given.get("targets") if targets is None else targets
        return self.model(images, *args, **kwargs)

    def generate_parameters(
        self, images: Tensor, mask: Tensor | None = None, targets: Any | None = None
    ) -> CompositeParameters:
        """Draw what `forward(images, params=...)` composites with, to replay it, as rollout and update of RL need.

        Args:
            images: float tensor of shape (batch, channel, height, width).
            mask: the foreground where it is known, as for `forward`; `clutter` and `distractors` are cut out of it, and
                `candidates` stand behind it.
            targets: for tasks whose targets show the foreground, and for the choice among `candidates`. The model is
                called on images alone for it; one that takes more is given to `companions.draw` as an
                `advbg.candidates.Judge`.

        Returns:
            Draws without a graph, so that they make no max step; `companions.draw` keeps it. Before the adversarial
            phase they leave every image as it is.

        Raises:
            TypeError: where `images`, `mask` or what the source makes is no tensor.
            ValueError: where `images` or `mask` cannot be used, or these need masks and there are none.
        """
        self.companions.build(images)
        found = find_foreground(self.companions.options.task, images, targets)
        mask = found if mask is None else check_mask(mask, images)
        call = default_dtype(torch.get_default_dtype())(self.model)
        return self.companions.draw(images, mask, Judge(self.model, call, targets)).detach()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's own state under its own names."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load a plain state of the model."""
        return self.model.load_state_dict(state_dict, strict=strict, assign=assign)

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Generator[tuple[str, nn.Module], None, None]:
        """The wrapper and the model under one name, so that parameters and buffers have the model's own names."""
        memo = set() if memo is None else memo
        if self not in memo:
            memo.update({self} if remove_duplicate else ())
            yield prefix, self
            yield from self.model.named_modules(memo, prefix, remove_duplicate)

    def __getattr__(self, name: str) -> Any:
        """Ask the model for what the wrapper does not have, such as timm's `no_weight_decay`."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Protocols such as copying and pickling must find the wrapper's own methods or none.
            if name.startswith("__"):
                raise
            return getattr(super().__getattr__("model"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set on the model what belongs to it: what it has and the wrapper has not, and new parts of a network."""
        model = self.__dict__.get("_modules", {}).get("model")
        part = isinstance(value, nn.Module | nn.Parameter) and name != "model"
        if model is not None and not self._has(name) and (part or hasattr(model, name)):
            setattr(model, name, value)
        else:
            super().__setattr__(name, value)

    def _has(self, name: str) -> bool:
        return name in self.__dict__ or name in self._modules or hasattr(type(self), name)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdversarialBackground":
        self.companions._apply(fn)
        return super()._apply(fn, recurse)


def _add_prefix(module: nn.Module, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Where the wrapper is part of a larger module, lead the model's own keys to the model."""
    for key in [key for key in state_dict if key.startswith(prefix)]:
        state_dict[f"{prefix}model.{key.removeprefix(prefix)}"] = state_dict.pop(key)

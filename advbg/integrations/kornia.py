"""A new background in kornia's pipelines."""

from typing import Any

import torch
from jaxtyping import Float
from kornia.augmentation import RandomTransplantation
from kornia.constants import DataKey
from torch import Tensor

from advbg.integrations.replacement import (
    Background,
    as_foreground,
    as_source,
    check_pixels,
    check_probability,
    draw_backgrounds,
    replace_background,
)


class ReplaceBackground(RandomTransplantation):
    """Put the objects, which the first mask marks, before other backgrounds; masks stay as they are.

    Works as `AugmentationSequential(..., ReplaceBackground(...), data_keys=["input", "mask"])` and as
    `ReplaceBackground(...)(images, mask)`. Put it before `Normalize`. An image whose mask is empty stays as it is:
    nothing of its object would be left.

    kornia shows every input of a pipeline to `RandomTransplantation` alone (`params_from_input`); other augmentations
    see the image without its mask. That is why this class is one: it transplants as well, but from a background
    source instead of a neighbour in the batch.

    Draws come from torch's global random stream, as kornia's do; they are `batch_prob` and `backgrounds`. A replay
    with `params=` takes those, and the mask of its own images.

    Args:
        background: a name, a folder of photographs, an exported generator, a picture or a `BackgroundSource`: see
            `advbg.integrations.replacement.as_source`.
        p: probability of each image's getting another background.
        same_on_batch: whether all images get the same background, or none does.
        keepdim: whether an image without a batch comes back without one.

    Shapes:
        input: (batch, channel, height, width) or (channel, height, width), float in [0, 1].
        mask: (batch, height, width) or (batch, 1, height, width), bool or float in [0, 1], or integers that are 0
            outside and 1 inside.

    Raises:
        FileNotFoundError: where `background` names nothing that is there.
        TypeError: where `background` is no source.
        ValueError: where `p` is no probability, `input` are no pixels, or a mask does not fit.
        Exception: kornia's own, where there is no mask.
    """

    def __init__(
        self, background: Background, *, p: float = 0.5, same_on_batch: bool = False, keepdim: bool = False
    ) -> None:
        check_probability(p)
        super().__init__(p=p)
        self.same_on_batch, self.keepdim = same_on_batch, keepdim
        self.source = as_source(background)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw a background for each image."""
        batch, channels, height, width = batch_shape
        seed = int(torch.randint(2**63 - 1, ()))
        count = 1 if self.same_on_batch else batch
        drawn = draw_backgrounds(self.source, count, (channels, height, width), seed, self.device)
        return {"backgrounds": drawn.expand(batch, channels, height, width)}

    def params_from_input(
        self,
        *inputs: Tensor,
        data_keys: list[Any],
        params: dict[str, Tensor],
        extra_args: dict[Any, Any] | None = None,
    ) -> dict[str, Tensor]:
        """Add the foreground of these images to the draws; kornia calls it with all inputs of a pipeline.

        Args:
            *inputs: what the pipeline was given.
            data_keys: the `DataKey` of each (beartype cannot read a hint with this enumeration).
            params: the draws.
            extra_args: not used.

        Returns:
            The draws and `foreground`, in a new dict: masks are no draws, and a replay has its own.
        """
        if DataKey.INPUT not in data_keys:
            return params
        self._check_mask_given(inputs, data_keys)
        images = self.transform_tensor(inputs[data_keys.index(DataKey.INPUT)])
        mask = inputs[data_keys.index(DataKey.MASK)]
        check_pixels(images)
        return params | {"foreground": as_foreground(mask[None] if mask.ndim == 2 else mask, images)}

    def apply_transform(
        self,
        input: Float[Tensor, "batch channel height width"],  # noqa: A002 (kornia's name)
        params: dict[str, Tensor],
        flags: dict[str, Any],
    ) -> Float[Tensor, "batch channel height width"]:
        """Composite; everything has been drawn and checked, so that this compiles without a graph break."""
        backgrounds = params["backgrounds"].to(input.device)
        replaced = params["batch_prob"].to(input.device) > 0.5
        return replace_background(input, params["foreground"], backgrounds, replaced)

    def forward(
        self,
        *inputs: Tensor,
        params: dict[str, Tensor] | None = None,
        data_keys: list[Any] | None = None,
        **kwargs: Any,
    ) -> Tensor | list[Tensor]:
        """Change the images among the inputs.

        Args:
            *inputs: an image and its mask, or what `data_keys` says.
            params: draws to replay instead of new ones.
            data_keys: what each input is: `input` or `mask`.
            **kwargs: what kornia's pipelines say about the interpolation of masks; there is none.

        Returns:
            All inputs in their order, or the only one.
        """
        keys = self.data_keys if data_keys is None else [DataKey.get(key) for key in data_keys]
        if params is None:
            params = self.forward_parameters(self.transform_tensor(inputs[keys.index(DataKey.INPUT)]).shape)
        self._params = params
        # In a pipeline, images come alone, and their foreground among the parameters.
        if DataKey.MASK in keys or "foreground" not in params:
            params = self.params_from_input(*inputs, data_keys=keys, params=params)
        outputs = [
            self._replace(value, params) if key == DataKey.INPUT else value
            for key, value in zip(keys, inputs, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else outputs

    def _replace(self, images: Tensor, params: dict[str, Tensor]) -> Tensor:
        output = self.apply_transform(self.transform_tensor(images), params, self.flags)
        return self.transform_output_tensor(output, tuple(images.shape))

"""timm models for classes of one's own, from pre-trained weights or none."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import load_model_config_from_hf, load_state_dict
from timm.models._hub import load_model_config_from_path  # timm exports that of the hub alone
from torch import Tensor, nn

from advbg.naming import name_some
from advbg.optimization import evaluating
from advbg.training.tunings import GENTLE, OF_PRETRAINED, ORDINARY, PLAIN

# Models that timm describes elsewhere: whether they are there, `create_model` finds out.
_SOURCES = {"hf-hub:": load_model_config_from_hf, "local-dir:": load_model_config_from_path}


def check_model(name: str) -> None:
    """Check the name of a timm model; one of the Hugging Face hub or in a folder, as timm names it, is not looked for.

    Raises:
        ValueError: where timm has none of this name.
    """
    if _source(name) is None and not timm.is_model(name):
        known = timm.list_models(f"*{name}*") or timm.list_models(f"{name[:4]}*")
        hint = f"; it has {name_some(known)}" if known else ""
        raise ValueError(f"`model` (={name!r}) is no model of timm{hint}")


def check_weights(weights: str | None, *, pretrained: bool) -> None:
    """Check where a model's first weights come from.

    Args:
        weights: path of a file, or None.
        pretrained: whether timm downloads them.

    Raises:
        FileNotFoundError: where `weights` is no file.
        ValueError: where both are asked for.
    """
    if weights is not None and pretrained:
        raise ValueError(f"`weights` (={weights!r}) and `pretrained` are two answers to one question")
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"`weights` (={weights!r}) does not exist")


def choose_tuning(tuning: str | None, weights: object, *, pretrained: bool) -> str:
    """How to train a model: as it was said, else gently where it is pre-trained.

    Args:
        tuning: one of `TUNINGS`, or None where nothing was said.
        weights: file of a pre-trained model, or None.
        pretrained: whether timm downloads weights.

    Raises:
        ValueError: where a model with random weights is to be trained as only a pre-trained one can be.
    """
    if tuning is None:
        return GENTLE if weights is not None or pretrained else PLAIN
    check_tuned_model(tuning, weights, pretrained=pretrained)
    return tuning


def check_tuned_model(tuning: str, weights: object, *, pretrained: bool, hold_statistics: bool = False) -> None:
    """Check that a model knows something which is trained gently, as by an ordinary script, or with held statistics.

    Args:
        tuning: as for `choose_tuning`, and so are the others.
        weights: file of a pre-trained model, or None.
        pretrained: whether timm downloads weights.
        hold_statistics: whether BatchNorm keeps its statistics.

    Raises:
        ValueError: where it does not.
    """
    if weights is not None or pretrained:
        return
    for name, value, needs in (
        ("tuning", tuning, tuning in OF_PRETRAINED),
        ("hold_statistics", hold_statistics, hold_statistics),
    ):
        if needs:
            raise ValueError(f"`{name}` (={value!r}) needs a pre-trained model: pass `weights` or `pretrained`")


def create_model(
    name: str,
    classes: int,
    *,
    seed: int,
    weights: Path | None = None,
    pretrained: bool = False,
    image_size: int | None = None,
    tuning: str = PLAIN,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Make a timm model for colour images.

    Args:
        name: of the model in timm.
        classes: how many it shall tell apart.
        seed: of its first weights; the global random stream stays as it was.
        weights: a .safetensors or .pth of the same model, whose classifier may be for other classes: it is not read.
            Positions of another image size are resampled, as timm does where it downloads weights.
        pretrained: whether timm downloads weights.
        image_size: side of the images in pixels, for models that are made for one size; None for their own.
        tuning: how it will be trained; `ordinary` leaves a pre-trained model the first classifier that timm gives it.
        options: what else timm is told, such as `construction_options` said of another name of the same model.

    Raises:
        FileNotFoundError: where there is no file `weights`.
        ValueError: where `name` is no model, weights cannot be had, or they are of another model; the first of the
            names that do not fit are in the message.
    """
    check_model(name)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            said = construction_options(name, image_size) | dict(options or {})
            model: Any = timm.create_model(name, pretrained=pretrained, num_classes=classes, **said)
        except Exception as error:  # whatever a download can raise, and models without `num_classes`
            raise ValueError(f"`model` (={name!r}) cannot be made: {error}") from error
        if weights is not None:
            _load_backbone(model, weights)
        if (weights is not None or pretrained) and tuning != ORDINARY:
            # Some models' own first classifiers are so large that their gradient undoes what was learned before.
            model.reset_classifier(classes)
    return model


def rebuilt_name(name: str, model: nn.Module) -> str:
    """The name by which timm makes the same model again without the source that it came from.

    Args:
        name: by which it was made.
        model: that was made.
    """
    return name if _source(name) is None else getattr(model, "pretrained_cfg", {}).get("architecture", name)


def construction_options(name: str, image_size: int | None) -> dict[str, Any]:
    """What timm must be told to make a model again: what its source says, and the size, where it is made for one.

    Classes are left out: whoever makes it again knows how many.

    Args:
        name: of the model in timm.
        image_size: side of the images in pixels; None for its own.

    Raises:
        Exception: whatever timm raises where a source does not say what the model is.
    """
    source = _source(name)
    if source is None:
        config, saved = timm.get_pretrained_cfg(name), {}
        fixed = config is not None and config.fixed_input_size
    else:
        config, _, saved = _SOURCES[source](name.removeprefix(source))
        # As timm's scripts do: what was made for a size by an argument can be made for another one.
        fixed = config.get("fixed_input_size", False) or "img_size" in saved
    options = {argument: value for argument, value in saved.items() if argument != "num_classes"}
    return {**options, "img_size": image_size} if fixed and image_size is not None else options


def _source(name: str) -> str | None:
    return next((source for source in _SOURCES if name.startswith(source)), None)


@torch.no_grad()
def check_size(model: nn.Module, name: str, size: int) -> None:
    """Call a model once, since timm's models say of a size that does not suit them whatever their layers do.

    Args:
        model: on the CPU, for colour images; left as it is.
        name: of the model, for messages.
        size: side of the images in pixels.

    Raises:
        ValueError: where the call fails.
    """
    try:
        with evaluating(model):
            model(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever its layers raise
        raise ValueError(f"`image_size` (={size}) does not suit `model` (={name!r}): {error}") from error


def _load_backbone(model: nn.Module, file: Path) -> None:
    if not file.is_file():
        raise FileNotFoundError(f"`weights` (={str(file)!r}) does not exist")
    try:
        state = load_state_dict(str(file))
    except Exception as error:  # whatever a damaged file can raise
        raise ValueError(f"`weights` (={str(file)!r}) is damaged or no file of weights: {error}") from error
    ours, heads = model.state_dict(), _classifiers(model)
    theirs = {name: tensor for name, tensor in state.items() if not name.startswith(heads)}
    # Old files do not count the batches that BatchNorm has seen; torch takes them as well.
    counters = {name for name in ours if name.endswith(".num_batches_tracked")} - set(theirs)
    wanted = {name for name in ours if not name.startswith(heads)} - counters
    if wanted == set(theirs) and any(ours[name].shape != theirs[name].shape for name in wanted):
        theirs = _resampled(theirs, model)
    problems = {
        "are missing": sorted(wanted - set(theirs)),
        "are not the model's": sorted(set(theirs) - wanted),
        "have another shape": sorted(name for name in wanted & set(theirs) if ours[name].shape != theirs[name].shape),
    }
    for problem, names in problems.items():
        if names:
            raise ValueError(f"`weights` (={str(file)!r}) are of another model: {name_some(names)} {problem}")
    model.load_state_dict(theirs, strict=False)


def _resampled(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Weights made to fit another image size by the model's own module in timm; as they are where it has no means."""
    resample = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    return state if resample is None else resample(dict(state), model)


def _classifiers(model: nn.Module) -> tuple[str, ...]:
    """Beginnings of the names of the last layers' weights, as timm lists them."""
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    names: Sequence[str] = [named] if isinstance(named, str) else named
    return tuple(f"{name}." for name in names)

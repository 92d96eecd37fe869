"""Command line flags for training scripts, as a group of an `argparse` parser."""

import argparse
from collections.abc import Mapping
from typing import Any

from advbg.backgrounds import SOURCE_NAMES, parse_background
from advbg.masks import MASK_GENERATOR_NAMES, is_learned
from advbg.options import Options
from advbg.schedule import Schedule
from advbg.warning import warn


def add_advbg_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags `--advbg` and `--advbg-...` in a group of their own.

    The parsed values are plain numbers and strings, so that scripts can keep them in YAML files and checkpoints.

    Args:
        parser: of the script.
    """
    defaults = Options()
    group = parser.add_argument_group("Adversarial backgrounds")
    group.add_argument("--advbg", action="store_true", help="train against adversarial backgrounds")
    for phase, what, share in (("classifier", "plain training", 0.3), ("mask", "learning masks", 0.05)):
        unit = group.add_mutually_exclusive_group()
        unit.add_argument(
            f"--advbg-{phase}-epochs",
            type=float,
            metavar="N",
            help=f"epochs of {what}, may be a fraction (default: {share:.0%} of the training)".replace("%", "%%"),
        )
        unit.add_argument(
            f"--advbg-{phase}-steps", type=int, metavar="N", help=f"the same phase in optimiser steps: {what}"
        )
    group.add_argument(
        "--advbg-background",
        default=defaults.background,
        metavar="NAME|FOLDER[,...]",
        help=f"one of {', '.join(SOURCE_NAMES)}, or a folder of photographs; NAME=WEIGHT,FOLDER=WEIGHT mixes them "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--advbg-clean-share",
        type=float,
        default=defaults.clean_share,
        metavar="SHARE",
        help="share of the images, in the mean, that keep their own background (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-mask-generator",
        default=defaults.mask_generator,
        metavar="NAME",
        help=f"what finds the object: one of {', '.join(MASK_GENERATOR_NAMES)}, or a plugin's (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-halo",
        type=float,
        default=defaults.halo,
        metavar="SHARE",
        help="largest random margin around a mask, as a share of the shorter side (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-placement",
        type=float,
        default=defaults.placement,
        metavar="SHARE",
        help="by how much objects may be shrunk, and put elsewhere, in half of the composites (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-copies",
        type=float,
        default=defaults.copies,
        metavar="SHARE",
        help="share of the composites that show their object many times over (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-lighting",
        type=float,
        default=defaults.lighting,
        metavar="STRENGTH",
        help="how far gamma, contrast and brightness of half of the composites change (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-clutter",
        type=float,
        default=defaults.clutter,
        metavar="SHARE",
        help="share of the backgrounds that are pieces of other images' objects (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-distractors",
        type=float,
        default=defaults.distractors,
        metavar="NUMBER",
        help="how many other images' objects stand in each background, in the mean, up to 2 (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-candidates",
        type=int,
        default=defaults.candidates,
        metavar="N",
        help="how many backgrounds are drawn for each image, which gets the hardest of them (default: %(default)s)",
    )
    group.add_argument(
        "--advbg-hold-statistics",
        action="store_true",
        help="let BatchNorm keep its statistics, as a pre-trained model should",
    )
    group.add_argument(
        "--advbg-seed",
        type=int,
        default=defaults.seed,
        metavar="N",
        help="of the backgrounds' own random stream (default: %(default)s)",
    )


def wants_advbg(args: argparse.Namespace) -> bool:
    """Say whether a script shall train against backgrounds.

    Args:
        args: from a parser with `add_advbg_arguments`.

    Returns:
        `args.advbg`. Warns of flags that say how to, where that one is missing.
    """
    parser = argparse.ArgumentParser()
    add_advbg_arguments(parser)
    chosen = [
        f"--{name.replace('_', '-')}"
        for name, default in vars(parser.parse_args([])).items()
        if getattr(args, name) != default
    ]
    if chosen and not args.advbg:
        warn(f"{', '.join(chosen)} without `--advbg`: the training is a plain one")
    return args.advbg


def advbg_options(
    args: argparse.Namespace, data_config: Mapping[str, Any], *, epochs: int, updates_per_epoch: int
) -> dict[str, Any]:
    """Turn parsed flags into the options of `AdversarialBackground`, checked before any training.

    Args:
        args: from a parser with `add_advbg_arguments`.
        data_config: with the `mean` and `std` that the script normalises images with, as timm's
            `resolve_data_config` returns it.
        epochs: of the whole training, 1 or more.
        updates_per_epoch: optimiser steps in an epoch, 1 or more.

    Returns:
        Keyword arguments of `AdversarialBackground`, `attach` and `AdversarialBackgroundTask`.

    Raises:
        ValueError: where a flag is out of range, or the schedule does not fit the training; the message names it.
    """
    options = {
        "schedule": _schedule(args, epochs, updates_per_epoch),
        "background": parse_background(args.advbg_background, "--advbg-background"),
        "clean_share": args.advbg_clean_share,
        "mask_generator": args.advbg_mask_generator,
        "halo": args.advbg_halo,
        "placement": args.advbg_placement,
        "copies": args.advbg_copies,
        "lighting": args.advbg_lighting,
        "clutter": args.advbg_clutter,
        "distractors": args.advbg_distractors,
        "candidates": args.advbg_candidates,
        "hold_statistics": args.advbg_hold_statistics,
        "seed": args.advbg_seed,
    }
    Options(**options)
    return {"mean": data_config["mean"], "std": data_config["std"], **options}


def _schedule(args: argparse.Namespace, epochs: int, updates_per_epoch: int) -> Schedule:
    total_steps = epochs * updates_per_epoch
    if total_steps < 1:
        raise ValueError(f"`epochs` (={epochs}) and `updates_per_epoch` (={updates_per_epoch}) must be 1 or more")
    shares = Schedule.fractions(total_steps)
    schedule = Schedule(
        classifier=_steps(args, "classifier", updates_per_epoch, shares.classifier),
        mask=_steps(args, "mask", updates_per_epoch, shares.mask),
    )
    learned = is_learned(args.advbg_mask_generator)
    if learned and schedule.mask == 0:
        raise ValueError(
            f"the mask phase has 0 steps, but the mask generator {args.advbg_mask_generator!r} has to learn: pass "
            "`--advbg-mask-steps` of 1 or more"
        )
    before = schedule.classifier + learned * schedule.mask
    if before >= total_steps:
        raise ValueError(
            f"the classifier and the mask phase take {before} steps and the training has {total_steps}: pass smaller "
            "`--advbg-classifier-epochs` and `--advbg-mask-epochs`, to leave steps to the adversarial phase"
        )
    return schedule


def _steps(args: argparse.Namespace, phase: str, updates_per_epoch: int, default: int) -> int:
    epochs, steps = getattr(args, f"advbg_{phase}_epochs"), getattr(args, f"advbg_{phase}_steps")
    for unit, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and not value >= 0:
            raise ValueError(f"`--advbg-{phase}-{unit}` (={value!r}) must be 0 or more")
    if steps is not None:
        if epochs is not None:
            # argparse refuses both on the command line, but does not see what a configuration file sets.
            raise ValueError(
                f"`--advbg-{phase}-epochs` (={epochs!r}) and `--advbg-{phase}-steps` (={steps!r}) are two answers to "
                "one question: take one out of the configuration file or the command line"
            )
        return steps
    return default if epochs is None else round(epochs * updates_per_epoch)

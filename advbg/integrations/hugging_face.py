"""A callback for Hugging Face's Trainer that attaches the companions to its model."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

import advbg
from advbg.attachment import check_options
from advbg.files import save_state
from advbg.integrations.trainer_schedule import fit_schedule, go_on
from advbg.task_hooks import changes_targets

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer import TRAINER_STATE_NAME
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
except ImportError as error:
    raise ImportError(
        "`advbg.integrations.hugging_face` needs Transformers and Accelerate: pip install advbg[transformers]"
    ) from error


class AdversarialBackgroundCallback(TrainerCallback):
    """Trains the Trainer's model, called with `pixel_values`, against backgrounds.

    The companions are attached to the model when training begins and taken off when it ends. Their state is kept in
    every checkpoint folder as `advbg.pt` (`advbg_<rank>.pt` where there are several processes), and
    `trainer.train(resume_from_checkpoint=...)` goes on where the run was. With another number of processes, one that
    finds no file of its own takes rank 0's.

    Args:
        resume_from_checkpoint: the folder that `trainer.train` is given, where it is not in the Trainer's
            `output_dir`: the Trainer does not tell its callbacks.
        **options: of `advbg.attach`, such as `mean` and `std`. Without `schedule`, the phases are shares of the
            Trainer's steps (`state.max_steps`), as by `Schedule.fractions`; a run that is resumed keeps its own.

    Attributes:
        attachment: the link to the model, from the first training on; None before.

    Raises:
        TypeError: where an option is unknown or of a wrong type.
        ValueError: where an option is out of range, or the task has targets that change with the background.
    """

    def __init__(self, *, resume_from_checkpoint: str | Path | None = None, **options: Any) -> None:
        check_options(options)
        task = options.get("task")
        if task is not None and changes_targets(task):
            raise ValueError(
                f"`task` (={task!r}) changes targets with the background, which the Trainer's model takes unchanged: "
                "train in a loop of your own"
            )
        self.resume_from_checkpoint, self.options = resume_from_checkpoint, options
        self.attachment: advbg.Attachment | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        **kwargs: Any,
    ) -> None:
        """Attach the companions; where the run is resumed, give them back their state.

        Raises:
            FileNotFoundError: where the checkpoint that is resumed from has no state of the companions.
            ValueError: where `mean` and `std` do not fit, the checkpoint is another run's, or the Trainer uses
                `nn.DataParallel` or DeepSpeed.
        """
        if args.n_gpu > 1:
            raise ValueError(
                f"{args.n_gpu} GPUs in one process make the Trainer use nn.DataParallel, whose replicas know no hooks: "
                "start it with torchrun, or show it one GPU in CUDA_VISIBLE_DEVICES"
            )
        if args.deepspeed is not None:
            raise ValueError("`deepspeed` steps an optimizer of its own, without hooks: train without it")
        self._remove()  # what a training that failed has left
        attachment = advbg.attach(model, optimizer, **self.options)
        try:
            if state.global_step > 0:
                self._restore(attachment, args, state)
            fit_schedule(attachment.companions, self.options.get("schedule"), state.max_steps)
        except BaseException:
            attachment.remove()
            raise
        self.attachment = attachment

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Keep the companions' state in the checkpoint's folder.

        Nothing is kept where the Trainer itself keeps nothing to resume from: with `save_only_model`, and in a search
        for hyperparameters.
        """
        if self.attachment is None or args.save_only_model or state.is_hyper_param_search:
            return
        folder = _folder(args, state)
        save_state(self.attachment.companions.state_dict(), folder / _file_name(args, args.process_index))
        if args.process_index == 0:
            _remove_all_but(folder, {_file_name(args, rank) for rank in range(args.world_size)})

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the model and the optimiser as they were."""
        self._remove()

    def _remove(self) -> None:
        if self.attachment is not None:
            self.attachment.remove()

    def _restore(self, attachment: advbg.Attachment, args: TrainingArguments, state: TrainerState) -> None:
        named = self.resume_from_checkpoint
        folder = _folder(args, state) if named is None else Path(named)
        own = folder / _file_name(args, args.process_index)
        # After another number of processes, rank 0's; `load_state_dict` sees to a random stream of this rank's own.
        file = next(filter(Path.is_file, (own, folder / "advbg_0.pt", folder / "advbg.pt")), None)
        if file is None:
            raise FileNotFoundError(
                f"the run goes on at step {state.global_step}, but there is no {own}: name the checkpoint's folder as "
                "`resume_from_checkpoint` of the callback too, or, if the run was saved without it, load its weights "
                "and start a new one"
            )
        saved = json.loads((folder / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
        if (saved["global_step"], saved["log_history"]) != (state.global_step, state.log_history):
            raise ValueError(
                f"`resume_from_checkpoint` (={self.resume_from_checkpoint!r}) must be the folder that the Trainer "
                f"resumes from, but {folder} is a checkpoint of another run"
            )
        state_dict = torch.load(file, map_location="cpu", weights_only=True)
        go_on(attachment.companions, state_dict, self.options.get("schedule"))


def _folder(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"


def _file_name(args: TrainingArguments, rank: int) -> str:
    return "advbg.pt" if args.world_size == 1 else f"advbg_{rank}.pt"


def _remove_all_but(folder: Path, names: set[str]) -> None:
    """Leave no state of another number of processes in a checkpoint that is written again: it would be gone on with."""
    for file in folder.glob("advbg*.pt"):
        if re.fullmatch(r"advbg(_\d+)?\.pt", file.name) and file.name not in names:
            file.unlink()

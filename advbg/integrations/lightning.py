"""A Lightning callback that attaches the companions to a model while it is fitted."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

import advbg
from advbg.attachment import check_options
from advbg.integrations.trainer_schedule import fit_schedule, go_on
from advbg.schedule import PHASES
from advbg.warning import warn

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import GradientAccumulationScheduler
except ImportError as error:
    raise ImportError("`advbg.integrations.lightning` needs Lightning: pip install advbg[lightning]") from error


class AdversarialBackgroundCallback(Callback):
    """Trains a LightningModule's model against backgrounds; the LightningModule stays as it is.

    The companions are attached to the model when fitting starts and taken off when it ends. Their state is in the
    checkpoint under `state_key`, so that `trainer.fit(..., ckpt_path=...)` goes on where the run was. The metrics
    `advbg/phase` (0, 1 or 2 for classifier, mask or adversarial) and, in the mask phase, `advbg/mask_loss` are logged
    with every optimiser step.

    Args:
        model: the image model within the LightningModule: the name of a submodule, dots allowed, or a function that
            takes the LightningModule and returns it.
        optimizer_index: which of the LightningModule's optimisers trains it; with several, the one that steps once for
            each batch.
        **options: of `advbg.attach`, such as `mean` and `std`. Without `schedule`, the phases are shares of the
            steps that the Trainer is going to take, as by `Schedule.fractions`; a run that is resumed keeps its own.

    Attributes:
        attachment: the link to the model, from the first fit on; None before.

    Raises:
        TypeError: where an option is unknown or of a wrong type.
        ValueError: where an option is out of range.
    """

    def __init__(
        self, *, model: str | Callable[[LightningModule], nn.Module] = "model", optimizer_index: int = 0, **options: Any
    ) -> None:
        check_options(options)
        self.model, self.optimizer_index, self.options = model, optimizer_index, options
        self.attachment: advbg.Attachment | None = None
        self._restored: Mapping[str, Any] | None = None
        self._resumes = True

    @property
    def state_key(self) -> str:
        """Names the model as well, so that each of several callbacks finds its own state."""
        model = self.model
        name = model if isinstance(model, str) else getattr(model, "__qualname__", type(model).__qualname__)
        return self._generate_state_key(model=name)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget another trainer's run, whose state a finder would save and restore before fitting starts."""
        if stage == "fit":
            self._restored = None
            if trainer.global_step == 0:
                self._remove()
                self.attachment = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Attach the companions; where a run is resumed, give them back their state.

        Raises:
            ValueError: where there is no such model or optimiser, or `mean` and `std` do not fit.
        """
        model, optimizer = self._find_model(trainer, pl_module), self._find_optimizer(trainer)
        # A trainer that fits once more counts its steps on, and so do the companions.
        if self._restored is None and self.attachment is not None and trainer.global_step > 0:
            self._restored = self.attachment.companions.state_dict()
        self._remove()
        self.attachment = advbg.attach(model, optimizer, **self.options)
        if self._restored is not None:
            go_on(self.attachment.companions, self._restored, self.options.get("schedule"))
            self._restored = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Share out the steps; only now are the data there, and a loader's state restored.

        Raises:
            ValueError: where neither `schedule` nor the Trainer says how long the phases are.
        """
        assert self.attachment is not None
        given = self.options.get("schedule")
        fit_schedule(self.attachment.companions, given, _total_steps(trainer))
        if given is None and trainer.early_stopping_callbacks:
            schedule = self.attachment.companions.options.schedule
            warn(
                f"the phases are shares of all the steps that the Trainer may take (={schedule!r}), and EarlyStopping "
                "may end it before the adversarial one: pass `schedule`, and look at `advbg/phase`"
            )

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log the phase and the loss of the masks."""
        if self.attachment is None:
            return
        phase, mask_loss = self.attachment.phase, self.attachment.companions.mask_loss
        pl_module.log("advbg/phase", float(PHASES.index(phase)))
        if phase == "mask" and mask_loss is not None:
            pl_module.log("advbg/mask_loss", mask_loss)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the model and the optimiser as they were."""
        self._remove()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave the model as it was where fitting ends early."""
        self._remove()

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check that a run that is resumed was saved with this callback; one without a step starts afresh.

        Raises:
            ValueError: where it was not.
        """
        # Testing and validating restore callbacks as well, but train nothing.
        self._resumes = trainer.state.fn == "fit"
        if self._resumes and checkpoint["global_step"] > 0 and self.state_key not in checkpoint["callbacks"]:
            raise ValueError(
                f"the checkpoint has no state of {self.state_key}, so it cannot be resumed with it: load its weights "
                "into the model and start a new run, or leave the callback out"
            )

    def state_dict(self) -> dict[str, Any]:
        """The companions' state; empty before the first fit."""
        return {} if self.attachment is None else self.attachment.companions.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the companions' state, for now or for when they are attached: strategies restore before or after."""
        if not self._resumes:
            return
        if self.attachment is not None and self.attachment.companions.attached:
            go_on(self.attachment.companions, state_dict, self.options.get("schedule"))
        else:
            self._restored = state_dict

    def _remove(self) -> None:
        if self.attachment is not None:
            self.attachment.remove()

    def _find_model(self, trainer: Trainer, pl_module: LightningModule) -> nn.Module:
        try:
            model = pl_module.get_submodule(self.model) if isinstance(self.model, str) else self.model(pl_module)
        except AttributeError as error:
            raise ValueError(
                f"`model` (={self.model!r}) must name a module within {type(pl_module).__name__}: {error}"
            ) from error
        if model is pl_module and trainer.strategy.model is not pl_module:
            raise ValueError(
                f"`model` (={self.model!r}) is the LightningModule itself, through whose forward "
                f"{type(trainer.strategy).__name__} calls `training_step`: keep the image model in an attribute"
            )
        return model

    def _find_optimizer(self, trainer: Trainer) -> Optimizer:
        if not 0 <= self.optimizer_index < len(trainer.optimizers):
            raise ValueError(
                f"`optimizer_index` (={self.optimizer_index!r}) must be one of the {len(trainer.optimizers)} that "
                "`configure_optimizers` returns, counted from 0"
            )
        return trainer.optimizers[self.optimizer_index]


def _total_steps(trainer: Trainer) -> float:
    """Steps of one optimiser over the whole training; infinite or negative where nobody knows."""
    if trainer.max_steps != -1 and len(trainer.optimizers) > 1:
        return math.inf  # it counts the steps of all of them
    for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        batches, epochs = trainer.num_training_batches, trainer.max_epochs or 0
        if isinstance(callback, GradientAccumulationScheduler) and epochs > 0 and not math.isinf(batches):
            steps = sum(math.ceil(batches / callback.get_accumulate_grad_batches(epoch)) for epoch in range(epochs))
            return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
    return trainer.estimated_stepping_batches

"""Train a timm model on a folder of images, with or without adversarial backgrounds; a short `train.py` of timm.

python examples/timm_train.py DATA --model resnet18 --pretrained --amp --advbg --advbg-hold-statistics --output RUN

DATA holds `train/<class>/*.jpg` and `validation/<class>/*.jpg`.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

import torch
from timm import create_model
from timm.data import create_loader, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.task import ClassificationTask, TrainingTask, load_task_ema_checkpoint, resume_task_checkpoint
from timm.utils import (
    AverageMeter,
    CheckpointSaver,
    NativeScaler,
    accuracy,
    dispatch_clip_grad,
    random_seed,
    update_summary,
)
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from advbg.integrations.arguments import add_advbg_arguments, advbg_options, wants_advbg
from advbg.integrations.timm import AdversarialBackgroundTask

Autocast = Callable[[], AbstractContextManager]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data_dir", type=str, help="folder with train/<class>/ and validation/<class>/")
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--img-size", type=int, help="side of the images (default: the model's)")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--stop-after", type=int, metavar="EPOCHS", help="stop early; --resume goes on")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--grad-accum-steps", type=int, default=1)
    parser.add_argument("--opt", default="adamw")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--warmup-epochs", type=int, default=0)
    parser.add_argument("--clip-grad", type=float)
    parser.add_argument("--model-ema", action="store_true")
    parser.add_argument("--model-ema-decay", type=float, default=0.9998)
    parser.add_argument("--amp", action="store_true")
    parser.add_argument("--amp-dtype", default="bfloat16", choices=("bfloat16", "float16"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--output", required=True, help="folder for checkpoints and summary.csv")
    parser.add_argument("--resume", default="", metavar="PATH", help="checkpoint to go on from, such as last.pth.tar")
    add_advbg_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Train; the output folder holds `last.pth.tar`, `model_best.pth.tar` and `summary.csv`."""
    args = parse(argv)
    device = torch.device(args.device)
    random_seed(args.seed)
    train_set = ImageFolder(Path(args.data_dir) / "train")
    eval_set = ImageFolder(Path(args.data_dir) / "validation")
    model = create_model(args.model, pretrained=args.pretrained, num_classes=len(train_set.classes)).to(device)
    data_config = resolve_data_config(vars(args), model=model)
    loader_train = make_loader(args, train_set, data_config, is_training=True)
    loader_eval = make_loader(args, eval_set, data_config, is_training=False)
    updates_per_epoch = -(-len(loader_train) // args.grad_accum_steps)

    criterion = nn.CrossEntropyLoss()
    if wants_advbg(args):
        options = advbg_options(args, data_config, epochs=args.epochs, updates_per_epoch=updates_per_epoch)
        task = AdversarialBackgroundTask(model, criterion, device=device, **options)
    else:
        task = ClassificationTask(model, criterion, device=device)

    optimizer = create_optimizer_v2(model, opt=args.opt, lr=args.lr, weight_decay=args.weight_decay)
    scheduler, epochs = create_scheduler_v2(
        optimizer, num_epochs=args.epochs, warmup_epochs=args.warmup_epochs, updates_per_epoch=updates_per_epoch
    )
    amp_dtype = getattr(torch, args.amp_dtype)
    autocast: Autocast = partial(torch.autocast, device.type, amp_dtype) if args.amp else nullcontext
    scaler = NativeScaler(device=device.type) if args.amp and amp_dtype == torch.float16 else None
    start = resume_task_checkpoint(task, args.resume, optimizer, scaler) if args.resume else 0
    if args.model_ema:
        task.setup_ema(decay=args.model_ema_decay, use_warmup=True)
        if args.resume:
            load_task_ema_checkpoint(task, args.resume)

    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)
    saver = CheckpointSaver(
        model,
        optimizer,
        args=args,
        amp_scaler=scaler,
        checkpoint_dir=str(output),
        recovery_dir=str(output),
        max_history=2,
        task=task,
    )
    if args.resume:
        saver.load_state_dict_from_checkpoint(args.resume)
    scheduler.step(start)
    for epoch in range(start, min(epochs, args.stop_after or epochs)):
        # All randomness of an epoch follows from its number, so that a resumed run repeats it.
        random_seed(args.seed + epoch)
        phase = f" [{task.companions.phase}]" if isinstance(task, AdversarialBackgroundTask) else ""
        loss = train_one_epoch(args, epoch, task, loader_train, optimizer, autocast, scaler)
        top1 = {"top1": validate(model, loader_eval, device, autocast)}
        if task.has_ema():
            top1["top1_ema"] = validate(task.get_eval_model(ema=True), loader_eval, device, autocast)
        scheduler.step(epoch + 1, top1["top1"])
        update_summary(epoch, {"loss": loss}, top1, output / "summary.csv", lr=optimizer.param_groups[0]["lr"])
        saver.save_checkpoint(epoch, metric=top1["top1"])
        print(f"epoch {epoch}{phase}: loss {loss:.4f}, " + ", ".join(f"{k} {v:.2f}" for k, v in top1.items()))


def make_loader(args: argparse.Namespace, images: ImageFolder, data_config: dict, *, is_training: bool) -> DataLoader:
    """Make timm's loader of normalised images, with its usual augmentation in training."""
    return create_loader(
        images,
        input_size=data_config["input_size"],
        batch_size=args.batch_size,
        is_training=is_training,
        scale=(0.5, 1.0),
        interpolation=data_config["interpolation"],
        mean=data_config["mean"],
        std=data_config["std"],
        crop_pct=data_config["crop_pct"],
        num_workers=args.workers,
        device=torch.device(args.device),
        # Workers that are made anew for each epoch take their random state from the epoch's seed.
        persistent_workers=False,
    )


def train_one_epoch(
    args: argparse.Namespace,
    epoch: int,
    task: TrainingTask,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    autocast: Autocast,
    scaler: NativeScaler | None,
) -> float:
    """Train for one epoch as timm's `train.py` does; returns the mean loss."""
    task.get_trainable_module().train()
    losses, accumulate = AverageMeter(), args.grad_accum_steps
    batches = len(loader)
    updates = epoch * -(-batches // accumulate)
    optimizer.zero_grad()
    for index, (images, targets) in enumerate(loader):
        images, targets = images.to(task.device), targets.to(task.device)
        last_group = batches % accumulate if index >= batches - batches % accumulate else accumulate
        need_update = index == batches - 1 or (index + 1) % accumulate == 0
        with autocast():
            loss = task(images, targets)["loss"] / last_group
        clipped = task.get_clip_parameters()
        if scaler is not None:
            scaler(loss, optimizer, clip_grad=args.clip_grad, parameters=clipped, need_update=need_update)
        else:
            loss.backward()
            if need_update:
                if args.clip_grad is not None:
                    dispatch_clip_grad(clipped, value=args.clip_grad)
                optimizer.step()
        losses.update(loss.item() * last_group, len(images))
        if need_update:
            updates += 1
            optimizer.zero_grad()
            task.update_ema(step=updates)
    return losses.avg


@torch.inference_mode()
def validate(model: nn.Module, loader: DataLoader, device: torch.device, autocast: Autocast) -> float:
    """Top-1 accuracy in per cent on images as they are."""
    model.eval()
    top1 = AverageMeter()
    for images, targets in loader:
        with autocast():
            output = model(images.to(device))
        top1.update(accuracy(output, targets.to(device))[0].item(), len(images))
    return top1.avg


if __name__ == "__main__":
    main()

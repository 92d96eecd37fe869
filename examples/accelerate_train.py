"""Train an image classifier with Accelerate: `accelerate launch examples/accelerate_train.py FOLDER`."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from advbg import AdversarialBackground, Schedule


def main(arguments: Sequence[str] | None = None) -> list[float]:
    """Train, save the state after every epoch, and at the end `model.pt`, a plain state of the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with a folder of images for each class")
    parser.add_argument("--output", type=Path, default=Path("runs/accelerate"))
    parser.add_argument("--model", default="resnet18", help="name of a timm model")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--accumulate", type=int, default=1, help="batches for each optimiser step")
    parser.add_argument("--precision", choices=["no", "bf16", "fp16"], help="by default as `accelerate config` says")
    parser.add_argument("--resume", type=Path, help="state to go on from, such as runs/accelerate/epoch-3")
    parser.add_argument("--no-advbg", action="store_true", help="train without adversarial backgrounds")
    options = parser.parse_args(arguments)

    accelerator = Accelerator(mixed_precision=options.precision, gradient_accumulation_steps=options.accumulate)
    set_seed(0)
    mean, std = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((options.image_size, options.image_size), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    dataset = ImageFolder(options.data, transform)
    loader = DataLoader(dataset, options.batch_size, shuffle=True)
    model = plain = timm.create_model(options.model, num_classes=len(dataset.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate)
    if not options.no_advbg:
        steps_per_epoch = -(-len(loader) // (options.accumulate * accelerator.num_processes))
        schedule = Schedule.fractions(options.epochs * steps_per_epoch)
        model = AdversarialBackground(model, schedule=schedule, mean=mean, std=std)
        model.attach(optimizer)
        accelerator.register_for_checkpointing(model.companions)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)

    first = 0
    if options.resume is not None:
        accelerator.load_state(str(options.resume))
        first = int(options.resume.name.removeprefix("epoch-"))
    losses = []
    for epoch in range(first, options.epochs):
        model.train()
        for images, targets in loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(images), targets)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            losses.append(loss.item())
        accelerator.print(f"epoch {epoch + 1}: loss {sum(losses[-len(loader) :]) / len(loader):.3f}")
        accelerator.save_state(str(options.output / f"epoch-{epoch + 1}"))
    if accelerator.is_main_process:
        torch.save(plain.state_dict(), options.output / "model.pt")
    accelerator.end_training()
    return losses


if __name__ == "__main__":
    main()

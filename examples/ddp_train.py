"""Train an image classifier on several processes: `torchrun --nproc-per-node=2 examples/ddp_train.py`.

It trains on the scanned digits that come with scikit-learn, saves everything every few steps, and goes on where the
last save was when it is started again, with as many processes as before or with others.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import timm
import torch
import torch.distributed as dist
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from advbg import AdversarialBackground, Schedule
from advbg.files import write_atomically


def digits(size: int) -> TensorDataset:
    """White digits on black, as images of three channels in [0, 1], and their classes."""
    pixels, classes = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    images = F.interpolate(images, size=(size, size), mode="bilinear").expand(-1, 3, -1, -1)
    return TensorDataset(images, torch.tensor(classes))


def batches(dataset: TensorDataset, batch_size: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
    """This process's share of each batch, from step `first` on, without end."""
    sampler = DistributedSampler(dataset, seed=0, drop_last=True)
    loader = DataLoader(dataset, batch_size, sampler=sampler, drop_last=True)
    epoch, skipped = divmod(first, len(loader))
    while True:
        sampler.set_epoch(epoch)
        yield from islice(loader, skipped, None)
        epoch, skipped = epoch + 1, 0


def save(path: Path, state: dict[str, Any], companions: dict[str, Any]) -> None:
    """Write one file that is either whole or not there, with the companions of every process."""
    everyones: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(companions, everyones)
    if everyones is not None:
        with write_atomically(path) as temporary:
            torch.save(state | {"companions": everyones}, temporary)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train; at the end write `model.pt`, a plain state of the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("runs/ddp"))
    parser.add_argument("--model", default="resnet10t", help="name of a timm model")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=32, help="images for each process and step")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--save-every", type=int, default=50, help="steps")
    options = parser.parse_args(arguments)

    device = torch.device("cpu")
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    rank, processes = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = timm.create_model(options.model, num_classes=10).to(device)
    wrapper = AdversarialBackground(model, mean=0.0, std=1.0, schedule=Schedule.fractions(options.steps))
    optimizer = torch.optim.AdamW(wrapper.parameters(), lr=1e-3)
    wrapper.attach(optimizer)

    options.output.mkdir(parents=True, exist_ok=True)
    checkpoint, first = options.output / "checkpoint.pt", 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        first = state["step"]
        wrapper.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        # A process that has no state of its own takes another one's, and draws backgrounds of its own from there on.
        wrapper.companions.load_state_dict(state["companions"][rank % len(state["companions"])])
    parallel = DistributedDataParallel(wrapper, device_ids=[device] if device.type == "cuda" else None)

    parallel.train()
    data = batches(digits(options.image_size), options.batch_size, first)
    for step, (images, targets) in zip(range(first, options.steps), data, strict=False):
        loss = F.cross_entropy(parallel(images.to(device)), targets.to(device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        done = step + 1
        if done % options.save_every == 0 or done == options.steps:
            state = {"step": done, "model": wrapper.state_dict(), "optimizer": optimizer.state_dict()}
            save(checkpoint, state, wrapper.companions.state_dict())
            if rank == 0:
                print(f"step {done} on {processes} processes, {wrapper.phase} phase: loss {loss.item():.3f}")
    if rank == 0:
        with write_atomically(options.output / "model.pt") as temporary:
            torch.save(wrapper.state_dict(), temporary)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

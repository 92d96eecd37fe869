"""What `test_ddp.py` runs on two processes: each writes what it has seen and become to a file of its own."""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

import advbg
from advbg import AdversarialBackground, Schedule
from advbg.companions import Companions
from advbg.masks import PaperObjective
from tests.models import a_batch, tiny_classifier

SCHEDULE = Schedule(classifier=1, mask=3)
Way = tuple[nn.Module, Companions, torch.optim.Optimizer]


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def parallel_of_the_wrapper(model: nn.Module) -> Way:
    wrapper = AdversarialBackground(model, schedule=SCHEDULE)
    optimizer = optimizer_of(wrapper)
    wrapper.attach(optimizer)
    return DistributedDataParallel(wrapper), wrapper.companions, optimizer


def wrapper_of_the_parallel(model: nn.Module) -> Way:
    wrapper = AdversarialBackground(DistributedDataParallel(model), schedule=SCHEDULE)
    optimizer = optimizer_of(wrapper)
    wrapper.attach(optimizer)
    return wrapper, wrapper.companions, optimizer


def parallel_of_the_attached_model(model: nn.Module) -> Way:
    optimizer = optimizer_of(model)
    return DistributedDataParallel(model), advbg.attach(model, optimizer, schedule=SCHEDULE).companions, optimizer


def attached_parallel(model: nn.Module) -> Way:
    parallel = DistributedDataParallel(model)
    optimizer = optimizer_of(parallel)
    return parallel, advbg.attach(parallel, optimizer, schedule=SCHEDULE).companions, optimizer


def wrapper_of_the_sharded_model(model: nn.Module) -> Way:
    for layer in (model[0], model[-1], model):
        fully_shard(layer)
    wrapper = AdversarialBackground(model, schedule=SCHEDULE)
    optimizer = optimizer_of(wrapper)
    wrapper.attach(optimizer)
    return wrapper, wrapper.companions, optimizer


def attached_sharded_model(model: nn.Module) -> Way:
    fully_shard(model)
    optimizer = optimizer_of(model)
    return model, advbg.attach(model, optimizer, schedule=SCHEDULE).companions, optimizer


WAYS: dict[str, Callable[[nn.Module], Way]] = {
    way.__name__: way
    for way in (
        parallel_of_the_wrapper,
        wrapper_of_the_parallel,
        parallel_of_the_attached_model,
        attached_parallel,
        wrapper_of_the_sharded_model,
        attached_sharded_model,
    )
}


def train(called: nn.Module, optimizer: torch.optim.Optimizer, batches: list[tuple[Tensor, Tensor]]) -> None:
    """Two batches a step, the first without synchronising where the module can do so."""
    for index, (images, targets) in enumerate(batches):
        accumulates = index % 2 == 0
        quiet = called.no_sync() if accumulates and hasattr(called, "no_sync") else nullcontext()
        with quiet:
            F.cross_entropy(called(images), targets).backward()
        if not accumulates:
            optimizer.step()
            optimizer.zero_grad()


def weights(model: nn.Module) -> list[Tensor]:
    """Copies of the parameters, whole where they are sharded."""
    whole = [p.full_tensor() if isinstance(p, DTensor) else p for p in model.parameters()]
    return [parameter.detach().clone() for parameter in whole]


def run(way: Callable[[nn.Module], Way]) -> dict[str, Any]:
    """Train through all phases, then plainly on the very images that the model saw."""
    rank = dist.get_rank()
    batches = [a_batch(4, seed=2 * index + rank) for index in range(14)]
    called, companions, optimizer = way(tiny_classifier(batch_norm=True))
    seen: list[Tensor] = []
    companions.register_forward_hook(lambda _, __, images: seen.append(images.detach().clone()))
    companions.build(batches[0][0])
    unlearned = weights(companions.mask_generator)
    train(called, optimizer, batches)

    plain: nn.Module = tiny_classifier(batch_norm=True)
    if "sharded" in way.__name__:
        fully_shard(plain)
    else:
        plain = DistributedDataParallel(plain)
    replayed = [(images, targets) for images, (_, targets) in zip(seen, batches, strict=True)]
    train(plain, optimizer_of(plain), replayed)
    return {
        "phase": companions.phase,
        "weights": weights(called),
        "plain": weights(plain),
        "masks": weights(companions.mask_generator),
        "unlearned": unlearned,
        "backgrounds": companions.draw(batches[0][0]).backgrounds.detach(),
        "changed": not torch.equal(seen[-1], batches[-1][0]),
    }


def learn_masks(images: Tensor, targets: Tensor) -> list[Tensor]:
    """The masks' weights after three steps of the mask phase on these images; the model itself stays as it is."""
    model = tiny_classifier()
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 3), mask_objective=PaperObjective())
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.0)
    wrapper.attach(optimizer)
    for _ in range(3):
        F.cross_entropy(wrapper(images, targets=targets), targets).backward()
        optimizer.step()
    return weights(wrapper.companions.mask_generator)


def own_masks() -> list[Tensor]:
    """The weights of a mask generator of one's own that each process initialised apart, after a step of learning."""
    torch.manual_seed(dist.get_rank())
    generator = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1), nn.BatchNorm2d(1), nn.Sigmoid())
    model = tiny_classifier()
    wrapper = AdversarialBackground(model, schedule=Schedule(0, 1), mask_generator=generator)
    optimizer = torch.optim.SGD(wrapper.parameters(), lr=0.0)
    wrapper.attach(optimizer)
    wrapper(a_batch(seed=dist.get_rank())[0]).sum().backward()
    optimizer.step()
    return [tensor.detach().clone() for tensor in generator.state_dict().values()]


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    images, targets = a_batch(8)
    share = slice(4 * rank, 4 * rank + 4)
    results: dict[str, Any] = {name: run(way) for name, way in WAYS.items()}
    results["learned"] = learn_masks(images[share], targets[share])
    results["own"] = own_masks()
    torch.save(results, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

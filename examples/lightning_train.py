"""Train an image classifier with Lightning: `python examples/lightning_train.py FOLDER`."""

import argparse
from collections.abc import Sequence

import lightning
import timm
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from advbg.integrations.lightning import AdversarialBackgroundCallback


class Classifier(lightning.LightningModule):
    """A plain LightningModule; it knows nothing of backgrounds."""

    def __init__(self, name: str, classes: int, learning_rate: float) -> None:
        super().__init__()
        self.model = timm.create_model(name, num_classes=classes)
        self.learning_rate = learning_rate

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch."""
        images, targets = batch
        loss = F.cross_entropy(self.model(images), targets)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser."""
        return torch.optim.AdamW(self.parameters(), lr=self.learning_rate)


def main(arguments: Sequence[str] | None = None) -> lightning.Trainer:
    """Train and save `model.pt`, a plain state of the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with a folder of images for each class")
    parser.add_argument("--output", default="runs/lightning", help="folder for checkpoints")
    parser.add_argument("--model", default="resnet18", help="name of a timm model")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--devices", type=int, default=1, help="GPUs, or processes on the CPU")
    parser.add_argument("--resume", help="checkpoint to go on from")
    parser.add_argument("--no-advbg", action="store_true", help="train without adversarial backgrounds")
    options = parser.parse_args(arguments)

    lightning.seed_everything(0)
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

    callbacks: list[lightning.Callback] = [lightning.pytorch.callbacks.ModelCheckpoint(options.output, save_last=True)]
    if not options.no_advbg:
        callbacks.append(AdversarialBackgroundCallback(mean=mean, std=std))
    trainer = lightning.Trainer(
        devices=options.devices,
        max_epochs=options.epochs,
        callbacks=callbacks,
        default_root_dir=options.output,
        logger=False,
    )
    module = Classifier(options.model, len(dataset.classes), options.learning_rate)
    trainer.fit(module, loader, ckpt_path=options.resume)
    torch.save(module.model.state_dict(), f"{options.output}/model.pt")
    return trainer


if __name__ == "__main__":
    main()

"""Train an image classifier with Hugging Face's Trainer: `python examples/hugging_face_train.py FOLDER`."""

import argparse
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2
from transformers import (
    AutoModelForImageClassification,
    ResNetConfig,
    ResNetForImageClassification,
    Trainer,
    TrainingArguments,
)

from advbg import hold_statistics
from advbg.integrations.hugging_face import AdversarialBackgroundCallback


class Images(Dataset):
    """An image folder as the Trainer wants it."""

    def __init__(self, folder: ImageFolder) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.folder[index]
        return {"pixel_values": image, "labels": label}


def main(arguments: Sequence[str] | None = None) -> Trainer:
    """Train and save the model as `save_pretrained` does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder with a folder of images for each class")
    parser.add_argument("--output", default="runs/hugging-face", help="folder for checkpoints and the model")
    parser.add_argument("--model", help="model to fine-tune, on the hub or in a folder; without, a fresh ResNet-18")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--accumulate", type=int, default=1, help="batches for each optimiser step")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--no-advbg", action="store_true", help="train without adversarial backgrounds")
    options = parser.parse_args(arguments)

    mean, std = timm.data.IMAGENET_DEFAULT_MEAN, timm.data.IMAGENET_DEFAULT_STD
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.Resize((options.image_size, options.image_size), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    folder = ImageFolder(options.data, transform)
    if options.model is not None:
        model = AutoModelForImageClassification.from_pretrained(
            options.model, num_labels=len(folder.classes), ignore_mismatched_sizes=True
        )
    else:
        shape: dict[str, Any] = {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"}
        model = ResNetForImageClassification(ResNetConfig(**shape, num_labels=len(folder.classes)))

    training = TrainingArguments(
        options.output,
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.accumulate,
        num_train_epochs=options.epochs,
        learning_rate=options.learning_rate,
        bf16=options.bf16,
        save_strategy="epoch",
        logging_strategy="epoch",
        report_to="none",
    )
    trainer = Trainer(model, training, train_dataset=Images(folder))
    # What a pre-trained model knows of the world is in its statistics as well.
    hold = options.model is not None
    if options.no_advbg and hold:
        model.register_forward_pre_hook(lambda module, _: hold_statistics(module))
    if not options.no_advbg:
        trainer.add_callback(AdversarialBackgroundCallback(mean=mean, std=std, hold_statistics=hold))
    trainer.train(resume_from_checkpoint=options.resume)
    trainer.save_model()
    return trainer


if __name__ == "__main__":
    main()

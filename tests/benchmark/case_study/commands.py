"""The command `advbg case-study`, run on a made-up study."""

from pathlib import Path


def command(data_dir: Path, output: Path, *more: object) -> list[str]:
    return [
        *("case-study", "office10", "--data-dir", str(data_dir), "--photographs", str(data_dir / "photographs")),
        *("--model", "test_efficientnet", "--image-size", "32", "--epochs", "3", "--batch-size", "6"),
        *("--device", "cpu"),
        *("--output", str(output), *map(str, more)),
    ]

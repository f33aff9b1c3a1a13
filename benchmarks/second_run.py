"""A second run of finished work: its seconds beside those of importing the libraries.

    python benchmarks/second_run.py [--images 2000]

Makes images, extracts and probes them, reads all depths and trains for an epoch, then runs the same
commands again. Prints the seconds of each second one, and what share that is of importing the
libraries alone, in the same run; the goal is under 1 s, in which torch and timm cannot be imported.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

IMPORTS = "import torch, torchvision, timm, h5py, pandas, sklearn.linear_model"
COMMON = ("--dataset", "set", "--backbone", "timm:test_resnet")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2000)
    count = parser.parse_args().images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _make_images(folder / "images", count)
        _frostline(folder, "index", "set", "--root", "images")
        network = (*COMMON, "--weights", "random", "--image-size", "64", "--protocol", "standard")
        commands = (
            ("extract", *network),
            ("probe", *COMMON, "--head", "logistic", "--feature", "pre_logits"),
            ("depth", *network[:-2], "--cv", "none"),
            ("finetune", *network, "--epochs", "1"),
        )
        first = [_frostline(folder, *command) for command in commands]
        second = [_frostline(folder, *command) for command in commands]
        imports = _seconds([sys.executable, "-c", IMPORTS], folder)
    for command, before, after in zip(commands, first, second, strict=True):
        print(
            f"{command[0]}: first {before:.1f} s, second {after:.1f} s, imports {imports:.1f} s: "
            f"{after / imports:.2f} of the imports, {after / before:.2f} of the first"
        )


def _make_images(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        path = root / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)


def _frostline(folder: Path, *arguments: str) -> float:
    return _seconds([sys.executable, "-m", "frostline", *arguments], folder)


def _seconds(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

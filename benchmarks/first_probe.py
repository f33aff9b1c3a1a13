"""The first probe on cached embeddings: its seconds beside those of importing the libraries.

    python benchmarks/first_probe.py WORKSPACE --dataset chest --backbone effnet-lite0 [--key KEY]

In a copy of the workspace that holds the manifests and links to the embeddings alone, each head is
trained by `frostline probe` where nothing is remembered, three times. Prints the medians, and the
seconds of importing PyTorch, scikit-learn and pandas in the same run; the goal is 4 s for 5,840
images × 1,280.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMPORTS = "import torch, sklearn.base, pandas"
HEADS = ("logistic", "adam")
ROUNDS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--key")
    given = parser.parse_args()
    which = ["--dataset", given.dataset, "--backbone", given.backbone]
    which += ["--key", given.key] if given.key else []
    imports = np.median([_seconds(["-c", IMPORTS]) for _ in range(ROUNDS)])
    for head in HEADS:
        times = []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as name:
                _copy(given.workspace, Path(name))
                command = ["-m", "frostline", "probe", "--workspace", name, *which, "--head", head]
                times.append(_seconds(command))
        print(f"{head}: {np.median(times):.1f} s, of which imports take {imports:.1f} s")


def _copy(workspace: Path, to: Path) -> None:
    shutil.copytree(workspace / "manifests", to / "manifests")
    (to / "embeddings").symlink_to((workspace / "embeddings").resolve())
    for file in workspace.glob("*.json"):
        shutil.copy(file, to)


def _seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

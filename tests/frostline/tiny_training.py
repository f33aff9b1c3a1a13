"""A tiny network and photographs to fine-tune it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from frostline.cache import Workspace

TINY = (
    "finetune",
    "--dataset",
    "set",
    "--backbone",
    "timm:test_vit",
    "--weights",
    "random",
    "--image-size",
    "32",
    "--device",
    "cpu",
)


def make_stripes(root: Path, count: int) -> None:
    """Photographs of two kinds, 36 pixels a side, each of another patient."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = "sick" if number // 2 % 2 else "well"
        pixels = rng.integers(0, 60, (36, 36, 3), dtype=np.uint8)
        pixels[:: 3 if label == "sick" else 5] += 120
        path = root / label / f"patient{number:03d}_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "frostline-workspace")


def epoch_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if "  train loss " in line]

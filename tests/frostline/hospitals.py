"""Images of two hospitals, of patients that one or both have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def make_hospital(
    root: Path, patients: Iterable[int], seed: int, *, mode: str = "RGB", images: int = 2
) -> Path:
    """Two class folders of noise; sick patients, the odd ones, are darker."""
    rng = np.random.default_rng(seed)
    for patient in patients:
        label = "sick" if patient % 2 else "well"
        for number in range(images):
            path = root / label / f"patient{patient:03d}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) // (1 + patient % 2)
            Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path)
    return root

"""Draw a folder of images to try Frostline on: `python docs/draw_images.py FOLDER [PATIENTS]`.

Two slices each of made-up brains with tumours of three grades, one folder a grade. No medical data.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from frostline.extract.phantom import GRADES, draw_patient


def draw_images(folder: str | Path, patients: int = 36) -> None:
    """Write `folder/GRADE/patientNNN_slice.png`, 8 bits, 96 × 96 pixels."""
    for number in range(patients):
        grade = GRADES[number % len(GRADES)]
        flair, mask = draw_patient(grade, np.random.default_rng([0, number]))
        largest = np.argsort(mask.sum(axis=(0, 1)))[-2:]
        for z in sorted(largest.tolist()):
            slice_ = flair[:, :, z].astype(float)
            pixels = np.clip(255 * slice_ / np.percentile(flair, 99.5), 0, 255)
            path = Path(folder) / grade / f"patient{number:03d}_{z}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path)


if __name__ == "__main__":
    draw_images(sys.argv[1], *map(int, sys.argv[2:]))

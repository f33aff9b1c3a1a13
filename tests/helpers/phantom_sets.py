"""Phantoms of the paper's six data sets: made-up images in their folders, under their names.

Counts of classes follow the paper's Tables I and II (Huang, Zou et al. 2024), in whole or in a
share. A class shows as the orientation and width of stripes under a smooth field and noise, so that
there is something to learn. It is no medical data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frostline.cache import atomic_write
from frostline.extract.phantom import GRADES, draw_patient, write_volume

# Images for training (with validation) and for testing.
CHEST = {"NORMAL": (1341, 234), "PNEUMONIA": (3875, 390)}
AMD = {"AMD": 89, "Non-AMD": 311}
HAM10000 = {
    "akiec": (327, 43),
    "bcc": (514, 93),
    "bkl": (1099, 217),
    "df": (115, 44),
    "mel": (1113, 171),
    "nv": (6705, 909),
    "vasc": (142, 35),
}
PATIENTS = {"t1": 100, "t2": 101, "flair": 36}
# Width and height in pixels: of chest X-rays about the median, of the others those of the camera.
SIZES = {"chest": (1280, 900), "amd": (2124, 2056), "ham10000": (600, 450)}
LEAST = 6  # images or patients of a class, so that every part of a split has one


def make_phantom_paper(root: Path, share: float = 1.0, scale: float = 1.0) -> Path:
    """Write all six data sets below a folder, as `paper-public` and `paper-mri` look for them.

    Parameters
    ----------
    share
        Of the paper's number of images or patients of each class; at least 6 of each.
    scale
        Of the width and height of photographs.

    Returns
    -------
    The folder, with ``chest_xray``, ``amd``, ``ham10000`` and ``glioma``. The same arguments give
    the same files.
    """
    make_phantom_chest(root / "chest_xray", share, scale)
    make_phantom_amd(root / "amd", share, scale)
    make_phantom_ham10000(root / "ham10000", share, scale)
    make_phantom_sequences(root / "glioma", share)
    return root


def make_phantom_chest(root: Path, share: float = 1.0, scale: float = 1.0) -> None:
    """Write the layout of Kermany et al.: train, val (16 images) and test by class; grey JPEG."""
    for number, (label, (train, test)) in enumerate(CHEST.items()):
        parts = {"train": _count(train, share), "val": 8, "test": _count(test, share)}
        first = 1
        for part, count in parts.items():
            for person in range(first, first + count):
                name = f"IM-{person:04d}-0001"
                if label == "PNEUMONIA":
                    name = f"person{person}_{('bacteria', 'virus')[person % 2]}_{person}"
                _photo(
                    root / part / label / f"{name}.jpeg", number, person, "chest", scale, grey=True
                )
            first += count


def make_phantom_amd(root: Path, share: float = 1.0, scale: float = 1.0) -> None:
    """Write the layout of iChallenge-AMD: ``Training400/AMD/A0001.jpg``, ``Non-AMD/N0001.jpg``."""
    for number, (label, whole) in enumerate(AMD.items()):
        for image in range(1, _count(whole, share) + 1):
            path = root / "Training400" / label / f"{label[0]}{image:04d}.jpg"
            _photo(path, number, image, "amd", scale)


def make_phantom_ham10000(root: Path, share: float = 1.0, scale: float = 1.0) -> None:
    """Write HAM10000 with the test set of the ISIC 2018 challenge; some lesions have two images."""
    rows, truth = ["lesion_id,image_id,dx"], ["image," + ",".join(map(str.upper, HAM10000))]
    image = 24306  # as the first of theirs
    for number, (label, (train, test)) in enumerate(HAM10000.items()):
        count = _count(train, share)
        for one in range(count):
            # Three images of every four are of a lesion of their own, as in about the real set.
            lesion = f"HAM_{number}{one - (one % 4 == 3):06d}"
            rows.append(f"{lesion},ISIC_{image:07d},{label}")
            folder = root / f"HAM10000_images_part_{1 + image % 2}"
            _photo(folder / f"ISIC_{image:07d}.jpg", number, image, "ham10000", scale)
            image += 1
        for _ in range(_count(test, share)):
            hot = ",".join(str(float(label == other)) for other in HAM10000)
            truth.append(f"ISIC_{image:07d},{hot}")
            folder = root / "ISIC2018_Task3_Test_Input"
            _photo(folder / f"ISIC_{image:07d}.jpg", number, image, "ham10000", scale)
            image += 1
    _write_lines(root / "HAM10000_metadata.csv", rows)
    _write_lines(root / "ISIC2018_Task3_Test_GroundTruth.csv", truth)


def make_phantom_sequences(root: Path, share: float = 1.0) -> None:
    """Write T1, T2 and FLAIR volumes of the same patients with masks, some sequences missing."""
    patients = {name: max(3 * LEAST, round(share * n)) for name, n in PATIENTS.items()}
    rows = ["patient_id,grade"]
    for number in range(max(patients.values())):
        name, grade = f"PHANTOM_{number:04d}", GRADES[number % len(GRADES)]
        (root / name).mkdir(parents=True, exist_ok=True)
        for place, (sequence, count) in enumerate(patients.items()):
            if number < count:
                flair, mask = draw_patient(grade, np.random.default_rng([place, number]))
                write_volume(root / name / f"{name}_{sequence}.nii.gz", CONTRASTS[sequence](flair))
                write_volume(root / name / f"{name}_{sequence}_mask.nii.gz", mask)
        rows.append(f"{name},{grade}")
    _write_lines(root / "labels.csv", rows)


def _t1(flair: NDArray[np.int16]) -> NDArray[np.int16]:
    """White matter bright and tumours dark, much as T1 has it."""
    return np.where(flair > 60, np.clip(900 - flair, 0, None), 0).astype(np.int16)


def _t2(flair: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.sqrt(400.0 * flair).astype(np.int16)


CONTRASTS: Mapping[str, Callable[[NDArray[np.int16]], NDArray[np.int16]]] = {
    "t1": _t1,
    "t2": _t2,
    "flair": lambda flair: flair,
}


def _count(whole: int, share: float) -> int:
    return max(LEAST, round(share * whole))


def _photo(
    path: Path, label: int, image: int, kind: str, scale: float, *, grey: bool = False
) -> None:
    """Draw stripes of a class at a small size, enlarge them, add noise, write a JPEG."""
    width, height = (max(32, round(scale * side)) for side in SIZES[kind])
    rng = np.random.default_rng([label, image])
    y, x = np.mgrid[:64, :64] / 64
    angle, waves = 0.45 * label + rng.normal(0, 0.1), 4 + label + rng.normal(0, 0.3)
    stripes = np.sin(2 * np.pi * waves * (np.cos(angle) * x + np.sin(angle) * y))
    field = np.kron(rng.normal(0, 1, (4, 4)), np.ones((16, 16)))
    shade = 128 + 35 * stripes + 15 * field
    tint = np.ones(1) if grey else np.array([1.2, 0.9, 0.8])
    small = np.clip(shade[..., None] * tint + rng.normal(0, 8, (64, 64, len(tint))), 0, 255)
    pixels = small.astype(np.uint8)
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((width, height), Image.Resampling.BILINEAR).save(path, quality=90)


def _write_lines(path: Path, lines: list[str]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")

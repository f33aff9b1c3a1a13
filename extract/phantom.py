"""A phantom glioma data set: made-up MRI volumes with tumours of three grades, for trying out.

Grade shows in the texture of the tumour, which is coarser in higher grades, and hardly in size,
oedema, rim and core, which vary more between patients than between grades: so the depth at which a
backbone is read matters. Noise and an uneven field lie over it. It is no medical data.
"""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from frostline.cache import atomic_write

SHAPE = (96, 96, 16)
SPACING = (2.0, 2.0, 6.0)  # mm
GRADES = ("Grade2", "Grade3", "Grade4")

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """Mean of what is drawn for each patient of a grade; lengths in mm, brightness of brain = 1."""

    radius: float
    oedema: float
    body: float
    rim: float
    core: float
    grain: float


LOOKS = {
    "Grade2": Look(radius=15.0, oedema=4.0, body=1.40, rim=0.18, core=0.12, grain=1.5),
    "Grade3": Look(radius=16.0, oedema=5.0, body=1.40, rim=0.22, core=0.15, grain=2.2),
    "Grade4": Look(radius=17.0, oedema=6.0, body=1.40, rim=0.26, core=0.18, grain=3.2),
}


def make_phantom_glioma(root: Path, patients: int = 60, seed: int = 0) -> Path:
    """Write `PID/PID_flair.nii.gz`, `PID/PID_mask.nii.gz` and `labels.csv` under a folder.

    Parameters
    ----------
    root
        Made if it is not there; files of the same names are replaced.
    patients
        Grades take turns, so that they are equally many.
    seed
        The same number gives the same bytes.

    Returns
    -------
    The folder. Volumes are int16 `[96, 96, 16]` with voxels of 2 by 2 by 6 mm along RAS; masks
    are uint8, 1 in the tumour. `labels.csv` has `patient_id` and `grade`.
    """

    def make(number: int) -> str:
        name, grade = f"PHANTOM_{number:04d}", GRADES[number % len(GRADES)]
        flair, mask = draw_patient(grade, np.random.default_rng([seed, number]))
        (root / name).mkdir(parents=True, exist_ok=True)
        write_volume(root / name / f"{name}_flair.nii.gz", flair)
        write_volume(root / name / f"{name}_mask.nii.gz", mask)
        return f"{name},{grade}"

    # Filters and compression, which are most of it, leave the interpreter to other threads.
    with ThreadPoolExecutor() as pool:
        rows = ["patient_id,grade", *pool.map(make, range(patients))]
    with atomic_write(root / "labels.csv") as temporary:  # last: where it is, the set is whole
        temporary.write_text("\n".join(rows) + "\n")
    return root


def draw_patient(
    grade: str, rng: np.random.Generator
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Draw one patient: FLAIR-like intensities, and the mask of the tumour."""
    position = _position()
    head, brain, image = _draw_head(position, rng)
    tumour, image = _draw_tumour(position, brain, image, LOOKS[grade], rng)
    field = np.exp(0.09 * _smooth(rng, 24.0))
    image = image * field * head
    noise = rng.normal(0, 0.045, (2, *SHAPE)).astype(np.float32)
    image = np.hypot(image + noise[0], noise[1])  # the noise of magnitude images is Rician
    scale = rng.uniform(350, 450)
    return np.rint(image * scale).astype(np.int16), tumour.astype(np.uint8)


def _draw_head(position: Array, rng: np.random.Generator) -> tuple[Array, NDArray, Array]:
    """Draw scalp, skull, cerebrospinal fluid, grey and white matter, ventricles."""
    width, length = rng.uniform(62, 68), rng.uniform(78, 84)
    semi_axes = np.array([width, length, 62.0])[:, None, None, None]
    bumps = 0.012 * _smooth(rng, 16.0)
    distance = np.sqrt(((position / semi_axes) ** 2).sum(axis=0)) + bumps  # 1 at the scalp
    head = _inside(distance, 1.0, 0.02)
    skull = _inside(distance, 0.955, 0.015) - _inside(distance, 0.89, 0.012)
    brain = _inside(distance, 0.87, 0.012)
    folds = _smooth(rng, 5.0)
    depth = 0.87 - distance + 0.05 * folds
    white = 1 / (1 + np.exp(-(depth - 0.13) / 0.015))
    tissue = 1.15 - 0.27 * white + 0.03 * _smooth(rng, 3.0)
    sulci = np.exp(-((folds / 0.30) ** 2)) * _inside(depth, 0.13, 0.03)
    cleft = np.exp(-((position[0] / 1.8) ** 2)) * (np.abs(position[1]) > 30) * 0.7
    tissue *= 1 - 0.55 * np.clip(sulci + cleft, 0, 1)
    tissue *= 1 - 0.72 * _ventricles(position, rng)
    scalp = (head - skull - brain) * 1.0
    image = brain * tissue + np.clip(scalp, 0, 1) * 0.75 + np.clip(skull, 0, 1) * 0.12
    return head, brain > 0.5, image.astype(np.float32)


def _ventricles(position: Array, rng: np.random.Generator) -> Array:
    size = rng.uniform(0.8, 1.25)
    x, y, z = position
    horns = np.zeros(SHAPE, np.float32)
    for side in (-1, 1):
        bent = x - side * (6.5 + 0.006 * (y + 4) ** 2)
        distance = np.sqrt((bent / (4.2 * size)) ** 2 + ((y + 4) / 27) ** 2 + ((z - 4) / 17) ** 2)
        horns = np.maximum(horns, _inside(distance, 1.0, 0.12))
    return horns


def _draw_tumour(
    position: Array, brain: NDArray, image: Array, look: Look, rng: np.random.Generator
) -> tuple[NDArray, Array]:
    """Draw body, core, rim and oedema around a centre in one hemisphere."""
    radius = look.radius * rng.lognormal(0, 0.12)
    side = rng.choice([-1, 1])
    centre = np.array([side * rng.uniform(22, 36), rng.uniform(-34, 34), rng.uniform(-10, 18)])
    stretch = rng.uniform(0.85, 1.15, 3)
    offset = (position - centre[:, None, None, None]) / stretch[:, None, None, None]
    outline = 0.16 * radius * _smooth(rng, 6.0)
    distance = np.sqrt((offset**2).sum(axis=0)) + outline  # mm from the centre
    tumour = (distance < radius) & brain
    body = _inside(distance, radius, 1.6)
    core = _inside(distance, radius * 0.58, 1.4) * np.clip(rng.normal(look.core, 0.16), 0, 1)
    rim = np.exp(-(((distance - 0.78 * radius) / 2.6) ** 2))
    rim *= np.clip(rng.normal(look.rim, 0.13), 0, 1)
    reach = radius + max(0.0, rng.normal(look.oedema, 2.5))
    oedema = _inside(distance + 2.5 * _smooth(rng, 4.0), reach, 3.0) * 0.30
    unevenness = max(0.02, rng.normal(0.5, 0.1))
    texture = look.body + rng.normal(0, 0.08) + unevenness * _smooth(rng, look.grain)
    lesion = texture * (1 - 0.68 * core) + 0.75 * rim
    swollen = image + oedema * brain
    inside = body * brain
    return tumour, (swollen * (1 - inside) + lesion * inside).astype(np.float32)


def _position() -> Array:
    """Give positions in mm from the middle of the head, float32 [3, x, y, z]."""
    axes = [
        (np.arange(size) - (size - 1) / 2) * step for size, step in zip(SHAPE, SPACING, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _smooth(rng: np.random.Generator, millimetres: float) -> Array:
    """Make a random field of mean 0 and variance 1, correlated over a length."""
    noise = rng.standard_normal(SHAPE, dtype=np.float32)
    field = gaussian_filter(
        noise, [millimetres / step for step in SPACING], mode="wrap", truncate=3.0
    )
    return (field - field.mean()) / field.std()


def _inside(distance: Array, edge: float, softness: float) -> Array:
    """Give 1 where a distance is less than the edge, 0 beyond, soft in between."""
    return 1 / (1 + np.exp(np.clip((distance - edge) / softness, -30, 30)))


def write_volume(path: Path, values: NDArray) -> None:
    """Write a volume of the phantoms' shape and spacing as NIfTI, the same bytes every time."""
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [-(size - 1) / 2 * step for size, step in zip(SHAPE, SPACING, strict=True)]
    image = nib.Nifti1Image(values, affine)  # type: ignore[no-untyped-call]
    # No time in the gzip header: the same volume is the same file.
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))

"""Small data sets for the tests of indexing, and how they are indexed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Image

from frostline.cache import Manifest, Workspace
from frostline.extract.audit.audit import Audit
from frostline.extract.index import index_dataset

RNG = np.random.default_rng(3)


def index(root: Path, name: str = "set", **options: Any) -> Manifest:
    return index_dataset(Workspace(root.parent / "workspace"), name, roots=[root], **options)


def texts(found: Audit) -> list[str]:
    return [finding.text for finding in found.findings]


def volumes(root: Path, patients: int = 12) -> dict[str, Any]:
    root.mkdir()
    rows = []
    mask = np.zeros((10, 9, 4), np.uint8)
    mask[2:8, 2:8, 1:3] = 1
    for number in range(patients):
        values = RNG.normal(100, 20, (10, 9, 4)).astype(np.float32)
        store(root / f"p{number}.nii.gz", values)
        store(root / f"p{number}_mask.nii.gz", mask)
        rows.append(f"p{number},{'ab'[number % 2]}")
    (root / "t.csv").write_text("\n".join(["id,y", *rows, ""]))
    pattern = {"image": "{patient}.nii.gz", "mask": "{patient}_mask.nii.gz", "table": "t.csv"}
    return {**pattern, "group_column": "id", "label_column": "y"}


def store(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    nib.save(Nifti1Image(values, np.eye(4) if affine is None else affine), path)  # type: ignore[attr-defined]

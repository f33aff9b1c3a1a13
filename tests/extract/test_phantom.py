from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from frostline.extract.images.volumes import read_volume
from frostline.extract.phantom import GRADES, draw_patient, make_phantom_glioma


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantom_glioma(tmp_path_factory.mktemp("phantom"), patients=6)


def test_layout(phantom: Path) -> None:
    labels = pd.read_csv(phantom / "labels.csv")
    assert labels["patient_id"].tolist() == [f"PHANTOM_{n:04d}" for n in range(6)]
    assert labels["grade"].tolist() == [*GRADES, *GRADES]
    for name in labels["patient_id"]:
        flair = nib.load(phantom / name / f"{name}_flair.nii.gz")
        mask = nib.load(phantom / name / f"{name}_mask.nii.gz")
        assert flair.shape == mask.shape == (96, 96, 16)
        assert (flair.get_data_dtype(), mask.get_data_dtype()) == (np.int16, np.uint8)
        np.testing.assert_array_equal(flair.affine, mask.affine)
        assert nib.aff2axcodes(flair.affine) == ("R", "A", "S")
        assert set(np.unique(mask.dataobj)) == {0, 1}


def test_same_bytes_every_time(phantom: Path, tmp_path: Path) -> None:
    make_phantom_glioma(tmp_path, patients=6)
    names = [path.relative_to(phantom) for path in sorted(phantom.rglob("*")) if path.is_file()]
    assert len(names) == 13
    for name in names:
        assert (phantom / name).read_bytes() == (tmp_path / name).read_bytes(), name
    make_phantom_glioma(tmp_path, patients=1, seed=1)
    flair = Path("PHANTOM_0000/PHANTOM_0000_flair.nii.gz")
    assert (phantom / flair).read_bytes() != (tmp_path / flair).read_bytes()


def test_the_first_patients_do_not_depend_on_how_many_there_are(
    phantom: Path, tmp_path: Path
) -> None:
    make_phantom_glioma(tmp_path, patients=2)
    mask = Path("PHANTOM_0001/PHANTOM_0001_mask.nii.gz")
    assert (phantom / mask).read_bytes() == (tmp_path / mask).read_bytes()


def test_every_patient_has_slices_with_a_tumour(phantom: Path) -> None:
    for path in phantom.glob("*/*_mask.nii.gz"):
        pixels = read_volume(path).values.sum(axis=(0, 1))
        assert 2 <= (pixels > 30).sum() <= 9


def test_grades_differ_in_their_grain() -> None:
    """Higher grades are coarser: neighbouring voxels differ less, against all of the tumour."""
    rough: dict[str, list[float]] = {grade: [] for grade in GRADES}
    for grade in GRADES:
        for seed in range(8):
            flair, mask = draw_patient(grade, np.random.default_rng(seed))
            inside = (mask[1:] > 0) & (mask[:-1] > 0)
            steps = np.diff(flair.astype(float), axis=0)[inside]
            rough[grade].append(float(np.square(steps).mean() / flair[mask > 0].var()))
    means = [np.mean(rough[grade]) for grade in GRADES]
    assert means[0] > means[1] > means[2]

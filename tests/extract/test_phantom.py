from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from frostline.cache import Workspace
from frostline.extract.images.decode import decode
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.volumes import read_volume
from frostline.extract.index import index_dataset
from frostline.extract.phantom import GRADES, draw_patient, make_phantom_glioma
from frostline.extract.pixels import manifest_channels


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


def test_the_middle_slices_without_the_masks(phantom: Path, tmp_path: Path) -> None:
    """Of 16 slices those from 6 to 9; the neighbours of slice 7 are slices 6 and 8."""
    options = {
        "image": "{patient}/{patient}_flair.nii.gz",
        "table": "labels.csv",
        "group_column": "patient_id",
        "label_column": "grade",
        "slices": "middle:4",
        "neighbours": True,
    }
    manifest = index_dataset(
        Workspace(tmp_path), "set", kind="mri-slices", roots=[phantom], options=options
    )
    frames = manifest.table.groupby("group_id")["frame"].agg(list)
    assert frames.tolist() == [[6, 7, 8, 9]] * 6
    assert manifest_channels(manifest) == "rgb"
    path = phantom / "PHANTOM_0000/PHANTOM_0000_flair.nii.gz"
    plain = Geometry("squash", 96, 96, window=manifest.meta["options"]["window"])
    stacked = plain.with_options(manifest.meta["options"])
    three = np.stack([decode(path, z, plain, "grey") for z in (6, 7, 8)], axis=-1)
    np.testing.assert_array_equal(decode(path, 7, stacked, "rgb"), three)


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

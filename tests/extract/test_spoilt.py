"""Data that will be spoilt are warned of when they are indexed, with the option that mends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import save
from indexed import index, store, texts, volumes
from PIL import Image

from frostline.extract.audit.audit import audit

RNG = np.random.default_rng(8)


def warnings_of(root: Path, **options: Any) -> list[str]:
    found = audit(index(root, **options))
    return [each.text for each in found.findings if each.severity == "warning"]


def test_twelve_bits_in_sixteen(tmp_path: Path) -> None:
    for number in range(16):
        path = tmp_path / f"root/{'ab'[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 4096, (20, 20)).astype(np.uint16)).save(path)
    (dark,) = warnings_of(tmp_path / "root")
    assert dark == (
        "Of 256 grey levels 16 are left (in 16 images of more than 8 bits): they use less than "
        "their range. Index again with --option 'window={range: [0, 4095]}', or percentiles: "
        "[0.5, 99.5] of each image."
    )
    mended = {"window": {"range": [0, 4095]}}
    assert warnings_of(tmp_path / "root", options=mended) == []


def test_twelve_bits_in_dicom_that_states_sixteen(tmp_path: Path) -> None:
    for number in range(8):
        pixels = RNG.integers(0, 4096, (8, 8)).astype(np.uint16)
        more = {"PatientID": str(number), "BitsStored": 16, "HighBit": 15}
        save(tmp_path / f"root/{'ab'[number % 2]}/{number}.dcm", pixels, **more)
    (dark,) = warnings_of(tmp_path / "root", kind="dicom")
    assert dark.startswith("Of 256 grey levels 17 are left (in 8 images")
    assert "'window={range: [0, 4095]}'" in dark


def test_a_mask_with_a_faint_background(tmp_path: Path) -> None:
    options = volumes(tmp_path / "root")
    mask = np.full((10, 9, 4), 1e-4, np.float32)
    mask[2:8, 2:8, 1:3] = 1
    store(tmp_path / "root/p3_mask.nii.gz", mask)
    (faint,) = warnings_of(tmp_path / "root", kind="mri-slices", options=options)
    assert faint == (
        "1 mask has a faint background that counts as marked (p3): index again with --option "
        "mask_threshold=0.5, or what the background does not reach."
    )
    # Said again where the mask is not read again.
    assert warnings_of(tmp_path / "root", kind="mri-slices", options=options) == [faint]
    mended = {**options, "mask_threshold": 0.5}
    manifest = index(tmp_path / "root", kind="mri-slices", options=mended)
    assert audit(manifest).findings == []
    assert manifest.table["group_id"].value_counts()["p3"] == 2


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_whose_data_are_cut_is_unreadable(tmp_path: Path, suffix: str) -> None:
    root = tmp_path / "root"
    options = volumes(root)
    (root / "p3.nii.gz").unlink()
    cut = root / f"p3{suffix}"
    store(cut, RNG.normal(100, 20, (10, 9, 4)).astype(np.float32))
    cut.write_bytes(cut.read_bytes()[:-300])
    rows = "".join(f"p{n},{'ab'[n % 2]},p{n}{suffix if n == 3 else '.nii.gz'}\n" for n in range(12))
    (root / "t.csv").write_text("id,y,file\n" + rows)
    found = audit(index(root, kind="mri-slices", options={**options, "image": "{file}"}))
    names = [f"p3{suffix}#z=1", f"p3{suffix}#z=2"]
    way_out = "mend or remove them, or leave them out with --on-error skip."
    assert texts(found) == [f"2 of 24 images cannot be read ({', '.join(names)}): {way_out}"]
    assert found.flow.set_index("what")["count"]["images that cannot be read"] == 2


def test_a_volume_without_contrast_cannot_be_decoded(tmp_path: Path) -> None:
    root = tmp_path / "root"
    options = volumes(root)
    store(root / "p3.nii.gz", np.full((10, 9, 4), 5, np.float32))
    for _ in range(2):
        assert warnings_of(root, kind="mri-slices", options=options) == [
            "2 images, though whole, cannot be decoded (p3.nii.gz#z=1, p3.nii.gz#z=2): the "
            "percentiles 0.5 and 99.5 of the intensities are both 5, so the image would be blank; "
            "choose a wider window."
        ]


def test_one_class_in_validation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, part in enumerate(["train/a", "train/b", "val/a", "test/a", "test/b"]):
        for image in range(4):
            path = tmp_path / f"root/{part}/{number}{image}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(path)
    assert warnings_of(tmp_path / "root")[-1] == (
        "val has images of a only, by which nothing can be chosen: cross-validate "
        "(`frostline sweep --cv`), or name another split with --split."
    )

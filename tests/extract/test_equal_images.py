"""Equal images stay on one side of a split, whatever their patients, files and formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from dicom_files import save
from indexed import index, store, texts, volumes
from PIL import Image

from frostline.cache import Manifest
from frostline.extract.audit.audit import audit
from frostline.extract.splits import assign_splits
from frostline.probe.sweep.draws import group_folds

RNG = np.random.default_rng(3)
SEEDS = range(8)  # a pair of 24 is torn by a split of two patients in 0.38 of all seeds


def write(path: Path, pixels: np.ndarray, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def noise(*size: int) -> np.ndarray:
    return RNG.integers(0, 256, size or (16, 16), dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of twelve patients with an image each, of one size."""
    for label in "ab":
        for number in range(12):
            write(tmp_path / f"root/{label}/{label}{number:02d}.png", noise())
    return tmp_path / "root"


def sides(manifest: Manifest, *ids: str) -> set[str]:
    table = manifest.table.set_index("image_id")
    return {str(table["split"][name]) for name in ids}


def same_bytes(root: Path) -> tuple[str, str]:
    (root / "b/b07.png").write_bytes((root / "a/a03.png").read_bytes())
    return "a/a03.png", "b/b07.png"


def compressed_otherwise(root: Path) -> tuple[str, str]:
    write(root / "a/a99.png", np.asarray(Image.open(root / "a/a03.png")), compress_level=0)
    return "a/a03.png", "a/a99.png"


def grey_as_colour(root: Path) -> tuple[str, str]:
    Image.open(root / "a/a03.png").convert("RGB").save(root / "a/a99.bmp")
    return "a/a03.png", "a/a99.bmp"


def jpeg_and_comment(root: Path) -> tuple[str, str]:
    write(root / "a/a98.jpg", noise(70, 80), quality=80)
    data = (root / "a/a98.jpg").read_bytes()
    (root / "a/a99.jpg").write_bytes(data[:2] + b"\xff\xfe\x00\x07hello" + data[2:])
    return "a/a98.jpg", "a/a99.jpg"


def jpeg_and_png(root: Path) -> tuple[str, str]:
    path = write(root / "a/a98.jpg", noise(70, 80))
    Image.open(path).save(root / "a/a99.png")
    return "a/a98.jpg", "a/a99.png"


Copy = Callable[[Path], tuple[str, str]]
COPIES: list[Copy] = [
    same_bytes,
    compressed_otherwise,
    grey_as_colour,
    jpeg_and_comment,
    jpeg_and_png,
]


@pytest.mark.parametrize("copy", COPIES)
def test_equal_images_of_two_patients_share_a_side(root: Path, copy: Copy) -> None:
    names = copy(root)
    for seed in SEEDS:
        manifest = index(root, seed=seed, resplit=True)
        assert len(sides(manifest, *names)) == 1, seed
    found = audit(manifest)
    assert found.leaks == []
    assert found.duplicates["image_id"].tolist() == sorted(names)
    assert set(found.duplicates["same"]) == {"bytes" if copy is same_bytes else "pixels"}


def test_blank_images_join_nobody(root: Path) -> None:
    blank = [write(root / f"a/blank{n}.png", np.zeros((16, 16), np.uint8)) for n in range(3)]
    write(blank[0], np.zeros((16, 16), np.uint8), compress_level=0)
    assert index(root).table.set_index("path").loc["a/blank0.png", "pixel_key"] is None
    names = _names(blank)
    found = [sides(index(root, seed=seed, resplit=True), *names) for seed in SEEDS]
    assert any(len(parts) > 1 for parts in found)
    result = audit(index(root))
    assert result.leaks == []
    assert f"3 images are of one brightness everywhere ({', '.join(names)})." in texts(result)


def _names(paths: list[Path]) -> list[str]:
    return [f"{path.parent.name}/{path.name}" for path in paths]


def test_new_images_follow_those_they_equal(root: Path) -> None:
    before = index(root)
    split = dict(zip(before.table["image_id"], before.table["split"], strict=True))
    for number, name in enumerate(split):
        pixels = np.asarray(Image.open(root / name))
        write(root / f"a/new{number:02d}.png", pixels, compress_level=0)
    after = index(root)
    table = after.table.set_index("image_id")["split"]
    assert {name: table[name] for name in split} == split
    assert all(table[f"a/new{n:02d}.png"] == part for n, part in enumerate(split.values()))
    assert audit(after).leaks == []


def test_what_an_earlier_split_tore_stays_is_reported_and_is_mended_by_resplit(root: Path) -> None:
    manifest = index(root)
    table = manifest.table.set_index("split")["path"]
    train, test = table["train"].iat[0], table["test"].iat[0]
    (root / test).write_bytes((root / train).read_bytes())
    first, second = sorted([train, test])
    found = audit(index(root))
    assert texts(found)[0] == (
        f"1 image occurs in test and another split, byte for byte ({first}, {second}). Index "
        "again with --resplit to keep them together."
    )
    assert [finding.test for finding in found.leaks] == [True]
    assert audit(index(root, resplit=True)).leaks == []


def test_splits_that_the_data_bring_are_left_alone_and_reported(tmp_path: Path) -> None:
    root = tmp_path / "root"
    parts = {}
    for part, count in (("train", 6), ("val", 4), ("test", 4)):
        parts[f"{part}_images"] = noise(count, 28, 28)
        parts[f"{part}_labels"] = np.arange(count)[:, None] % 2
    parts["test_images"][1] = parts["train_images"][2]
    parts["val_images"][0] = parts["train_images"][4]
    root.mkdir()
    np.savez(root / "own.npz", **parts)
    manifest = index(root, kind="medmnist", options={"data": "own.npz"})
    assert manifest.table["split"].value_counts().to_dict() == {"train": 6, "val": 4, "test": 4}
    found = audit(manifest)
    assert texts(found)[:2] == [
        "1 image occurs in test and another split, pixel for pixel (own.npz#i=11, own.npz#i=2).",
        "1 image occurs in more than one split, pixel for pixel (own.npz#i=4, own.npz#i=6).",
    ]
    assert [finding.test for finding in found.leaks] == [True, False]


def test_dicom_frames_of_two_patients(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4096, (24, 8, 8)).astype(np.uint16)
    for number, pixels in enumerate(frames):
        path = tmp_path / f"root/{'ab'[number % 2]}/{number:02d}.dcm"
        save(path, pixels, PatientID=str(number))
    save(tmp_path / "root/a/film.dcm", frames[[5, 6]], NumberOfFrames=2, PatientID="film")
    for seed in SEEDS:
        manifest = index(tmp_path / "root", kind="dicom", seed=seed, resplit=True)
        names = ("a/film.dcm#z=0", "a/film.dcm#z=1", "b/05.dcm", "a/06.dcm")
        assert len(sides(manifest, *names)) == 1, seed


def test_one_volume_in_two_orientations(tmp_path: Path) -> None:
    root = tmp_path / "root"
    options = volumes(root)
    values = np.asarray(nib.load(root / "p0.nii.gz").dataobj)  # type: ignore[attr-defined]
    affine = np.diag([-1.0, -1, 1, 1])
    affine[:2, 3] = 9, 8
    store(root / "p1.nii.gz", values[::-1, ::-1], affine)
    for seed in SEEDS:
        manifest = index(root, kind="mri-slices", options=options, seed=seed, resplit=True)
        assert len(sides(manifest, "p0.nii.gz#z=1", "p1.nii.gz#z=1")) == 1, seed
    assert manifest.table.loc[:, "pixel_key"].nunique() == 2 * 11


def test_folds_keep_equal_images_together(root: Path) -> None:
    first, second = same_bytes(root)
    images = index(root).images()
    for repeat in SEEDS:
        fold = dict(zip(images["image_id"], group_folds(images, 4, repeat, "set"), strict=True))
        assert fold[first] == fold[second]


def test_files_of_sizes_of_their_own_are_not_decoded_again(root: Path) -> None:
    write(root / "a/large.png", noise(40, 40))
    table = index(root).table.set_index("path")
    assert table.loc["a/large.png", "pixel_key"] is None
    assert table["pixel_key"].drop("a/large.png").notna().all()
    write(root / "b/large.png", np.asarray(Image.open(root / "a/large.png")), compress_level=0)
    assert index(root).table["pixel_key"].notna().all()  # now there is something to compare with


def test_units_are_filled_like_groups() -> None:
    """Pairs of equal groups are taken whole, and the shares are of pairs."""
    groups = [f"g{number}" for number in range(40)]
    keys = [number // 2 for number in range(40)]
    split = assign_splits(groups, ["a"] * 40, [None] * 40, keys=keys, seed=4)
    assert (split[::2] == split[1::2]).all()
    assert [int((split == part).sum()) for part in ("test", "val", "train")] == [12, 6, 22]

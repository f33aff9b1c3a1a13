"""Never the wrong image: what changed after `index` is refused, whatever reads it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pydicom import examples

import frostline
from frostline.cache import InputError, Manifest, Store, Workspace, part_files
from frostline.extract.backbones.backbone import load_backbone
from frostline.extract.images import decoders, opened
from frostline.extract.images.geometry import Geometry
from frostline.extract.images.transform import Transform
from frostline.extract.index import index_dataset
from frostline.extract.pixels import distinct_images, fill_pixels, pixel_source

SMALL = Geometry("squash", 8, 8)
Write = Callable[[Path, int], None]


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_png(path: Path, seed: int) -> None:
    Image.fromarray(noise(seed, 9, 9, 3)).save(path, "PNG", compress_level=0)


def write_pages(path: Path, seed: int) -> None:
    first, *others = [Image.fromarray(noise(10 * seed + page, 9, 9)) for page in range(3)]
    first.save(path, "TIFF", save_all=True, append_images=others)


def write_dicom(path: Path, seed: int) -> None:
    dataset = examples.ct
    dataset.PixelData = noise(seed, len(dataset.PixelData)).tobytes()
    dataset.PatientID = "same"
    dataset.save_as(path)


def write_volume(path: Path, seed: int) -> None:
    nib.Nifti1Image(noise(seed, 9, 9, 4), np.diag([1.0, 1, 1, 1])).to_filename(path)


def write_archive(path: Path, seed: int) -> None:
    parts = {"train": 6, "val": 3, "test": 3}
    arrays = {f"{name}_images": noise(seed, count, 9, 9) for name, count in parts.items()}
    arrays |= {f"{name}_labels": np.arange(count)[:, None] % 2 for name, count in parts.items()}
    np.savez_compressed(path, **arrays)


READERS: dict[str, tuple[Write, dict[str, Any]]] = {
    "png": (write_png, {}),
    "tif": (
        write_pages,
        {"kind": "table", "image_column": "i", "label_column": "l", "frame_column": "f"},
    ),
    "dcm": (write_dicom, {"kind": "dicom"}),
    "nii.gz": (
        write_volume,
        {
            "kind": "mri-slices",
            "image": "a/{patient}.nii.gz",
            "mask": "mask-{patient}.nii.gz",
            "group_column": "p",
            "label_column": "l",
        },
    ),
    "npz": (write_archive, {"kind": "medmnist", "data": "a/2"}),
}


def indexed(workspace: Workspace, root: Path, suffix: str) -> tuple[Manifest, Path, Write]:
    """Index some files of a kind; with the manifest, one of them and what writes such files."""
    write, options = READERS[suffix]
    for label in "ab":
        (root / label).mkdir(parents=True)
    for seed in range(2, 6):
        # Two classes where folders are classes.
        label = "b" if suffix in ("png", "dcm") and seed > 3 else "a"
        write(root / label / f"{seed}.{suffix}", seed)
        if suffix == "nii.gz":
            mask = nib.Nifti1Image(np.ones((9, 9, 4), np.uint8), np.eye(4))
            mask.to_filename(root / f"mask-{seed}.nii.gz")
    table = pd.DataFrame({"i": "a/2.tif", "f": range(3), "p": [2, 3, 4], "l": "x"})
    table.to_csv(root / "table.csv", index=False)
    kind = options.get("kind", "folder")
    rest = {name: value for name, value in options.items() if name != "kind"}
    if kind in ("table", "mri-slices"):
        rest["table"] = str(root / "table.csv")
    manifest = index_dataset(workspace, "set", kind=kind, roots=[root], options=rest)
    return manifest, root / f"a/2.{suffix}", write


def replace(path: Path, write: Write) -> bytes:
    """Put another image in a file's place, of the same size and time; give the old bytes."""
    old, stat = path.read_bytes(), path.stat()
    write(path, 99)
    new = path.read_bytes()
    assert len(new) <= len(old) + 100
    path.write_bytes(new[: len(old)].ljust(len(old), b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert path.read_bytes() != old
    return old


def sentence(path: Path) -> str:
    return (
        f"Image {path} changed after it was indexed: run `frostline index` again, or bring the "
        "file back."
    )


def rows_of(manifest: Manifest, path: Path) -> np.ndarray:
    return np.array([manifest.file(row) == path for row in range(len(manifest))])


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("suffix", READERS)
def test_an_image_that_changed_is_refused_or_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr(opened, "IN_MEMORY", 0)
    workspace = Workspace(tmp_path / "workspace")
    manifest, path, write = indexed(workspace, tmp_path / "root", suffix)
    old = replace(path, write)
    geometry = SMALL.with_options(manifest.meta["options"])
    source = pixel_source(workspace, manifest, geometry)
    with pytest.raises(InputError) as caught:
        fill_pixels(source)
    skipping = " (--on-error skip leaves it out)."
    assert str(caught.value) == sentence(path).removesuffix(".") + skipping
    source = pixel_source(workspace, manifest, geometry, on_error="skip")
    for _ in source.decode(distinct_images(manifest)):
        pass
    assert source.skipped == [sentence(path)]
    mine = rows_of(manifest, path)
    assert mine.any()
    if part_files(source.folder):
        assert (Store.open(source.folder).locate(manifest.keys()) < 0).tolist() == mine.tolist()
    path.write_bytes(old)
    store = fill_pixels(pixel_source(workspace, manifest, geometry))
    assert (store.locate(manifest.keys()) >= 0).all()


def test_a_file_is_digested_once_for_all_its_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    for suffix in ("npz", "nii.gz", "tif"):
        manifest, path, _ = indexed(workspace, tmp_path / suffix, suffix)
        digested = []
        key = opened.OpenedFile.key
        monkeypatch.setattr(
            opened.OpenedFile, "key", lambda file, key=key, to=digested: to.append(1) or key(file)
        )
        fill_pixels(pixel_source(workspace, manifest, SMALL.with_options(manifest.meta["options"])))
        monkeypatch.undo()
        assert len(digested) == manifest.table["path"].nunique()
        assert rows_of(manifest, path).sum() > 1


def test_processes_refuse_what_threads_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "FEW", 1)
    workspace = Workspace(tmp_path / "workspace")
    manifest, path, write = indexed(workspace, tmp_path / "root", "png")
    replace(path, write)
    source = pixel_source(workspace, manifest, SMALL, workers=2, on_error="skip")
    assert len(fill_pixels(source)) == 3
    assert source.skipped == [sentence(path)]


def test_an_archive_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "IN_MEMORY", 0)
    monkeypatch.setattr(decoders, "MANY_FRAMES", 2)
    monkeypatch.setattr(decoders, "FIRST_CHUNK", 2)
    workspace = Workspace(tmp_path / "workspace")
    manifest, path, _ = indexed(workspace, tmp_path / "root", "npz")
    source = pixel_source(workspace, manifest, SMALL)
    batches = source.decode(distinct_images(manifest))
    next(batches)
    with path.open("r+b") as file:
        file.write(file.read(1))
    with pytest.raises(InputError, match=r"2.npz changed after it was indexed"):
        list(batches)
    assert len(Store.open(source.folder)) == 2


@pytest.mark.parametrize("kept", ["floats", "bytes"])
def test_a_users_transform_never_sees_a_changed_image(tmp_path: Path, kept: str) -> None:
    workspace = Workspace(tmp_path / "workspace")
    manifest, path, write = indexed(workspace, tmp_path / "root", "png")
    replace(path, write)

    def prepare(image: Image.Image) -> np.ndarray:
        pixels = np.asarray(image.resize((8, 8)))
        return pixels if kept == "bytes" else pixels.transpose(2, 0, 1) / np.float32(255)

    source = pixel_source(workspace, manifest, Transform(prepare, kept))
    with pytest.raises(InputError, match=r"2.png changed after it was indexed"):
        list(source.batches(distinct_images(manifest), 4))


def test_neither_embeddings_nor_training_take_a_changed_image(tmp_path: Path) -> None:
    for seed in range(24):
        path = tmp_path / f"root/{'ab'[seed % 2]}/{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_png(path, seed)
    machine = frostline.Machine(on_error="skip")
    place = frostline.Workspace(tmp_path / "workspace")
    manifest = place.index("set", tmp_path / "root")
    train = manifest.table["split"] == "train"
    path = tmp_path / "root" / manifest.table["path"][train].iat[0]
    old = replace(path, write_png)
    how = {"weights": "random", "image_size": 32}
    tiny = "timm:test_vit"
    with pytest.raises(InputError, match=r"changed after it was indexed"):
        place.extract("set", tiny, **how)
    with pytest.raises(InputError, match=r"changed after it was indexed"):
        place.finetune("set", tiny, epochs=1, **how)
    with pytest.warns(UserWarning, match="Skipped: Image .* changed after it was indexed"):
        store = place.extract("set", tiny, machine=machine, **how)
    assert len(store.store) == 23
    path.write_bytes(old)
    assert len(place.extract("set", tiny, **how).store) == 24


def write_weights(path: Path, seed: int) -> None:
    made = load_backbone("timm:test_vit", weights="random", weights_seed=seed, image_size=32)
    torch.save(made.model.state_dict(), path)


def two_images(root: Path) -> Path:
    for label, seed in (("a", 0), ("b", 7)):
        (root / label).mkdir(parents=True)
        write_png(root / label / f"{seed}.png", seed)
    return root


def test_weights_overwritten_with_equal_size_and_time_are_noticed_where_they_are_read(
    tmp_path: Path,
) -> None:
    place, weights = frostline.Workspace(tmp_path / "workspace"), tmp_path / "w.pth"
    how = {"weights": weights, "image_size": 32}
    place.index("set", two_images(tmp_path / "root"))
    write_weights(weights, 1)
    first = place.extract("set", "timm:test_vit", **how).store
    write_png(tmp_path / "root/a/1.png", 1)
    place.index("set", tmp_path / "root")
    replace(weights, write_weights)
    sentence = (
        r"The weights of 'timm:test_vit' \(file w.pth\) changed, though the size and time of their "
        r"file did not: run the command again"
    )
    with pytest.raises(InputError, match=sentence):
        place.extract("set", "timm:test_vit", **how)
    assert len(Store.open(first.folder)) == 2
    second = place.extract("set", "timm:test_vit", **how).store
    assert second.spec["weights"] != first.spec["weights"]
    assert len(second) == 3


def test_rehash_reads_weights_whose_size_and_time_did_not_change(tmp_path: Path) -> None:
    place, weights = frostline.Workspace(tmp_path / "workspace"), tmp_path / "w.pth"
    how = {"weights": weights, "image_size": 32}
    place.index("set", two_images(tmp_path / "root"))
    write_weights(weights, 1)
    first = place.extract("set", "timm:test_vit", **how).store
    replace(weights, write_weights)
    assert place.extract("set", "timm:test_vit", **how).store.key == first.key  # nothing is read
    again = place.extract("set", "timm:test_vit", rehash=True, **how).store
    assert again.spec["weights"] != first.spec["weights"]
    assert place.extract("set", "timm:test_vit", **how).store.key == again.key


@pytest.mark.parametrize("suffix", ["png", "nii.gz"])
def test_rehash_reads_images_whose_size_and_time_did_not_change(
    tmp_path: Path, suffix: str
) -> None:
    workspace, root = Workspace(tmp_path / "workspace"), tmp_path / "root"
    manifest, path, write = indexed(workspace, root, suffix)
    mine = rows_of(manifest, path)
    replace(path, write)
    how = {"kind": manifest.meta["kind"], "roots": [root], "options": manifest.meta["options"]}
    again = index_dataset(workspace, "set", **how)
    assert (again.keys() == manifest.keys()).all()
    again = index_dataset(workspace, "set", rehash=True, **how)
    assert (again.keys() != manifest.keys()).any(axis=1).tolist() == mine.tolist()
    assert (again.table["split"] == manifest.table["split"]).all()

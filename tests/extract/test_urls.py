"""Data sets whose root is a URL: read through fsspec, with the same keys and numbers as on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml

import frostline
from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.cache.workspace import as_path
from frostline.cli import app
from frostline.extract import files
from frostline.extract.images import decoders, opened
from frostline.extract.images.geometry import Geometry
from frostline.extract.index import index_dataset
from frostline.extract.pixels import fill_pixels, pixel_source
from frostline.study.file import read_study

from .test_embed import make_images

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("upath")
BUCKET = "memory://bucket/set"


@pytest.fixture
def bucket() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def root(tmp_path: Path, bucket: Any) -> Path:
    """Images on disk, and the same in the bucket."""
    folder = make_images(tmp_path / "images", 24)
    bucket.put(f"{folder}/", "/bucket/set", recursive=True)
    return folder


TAKEN = ["image_id", "path", "label", "split", "content_key", "file_size", "mode", "pixel_key"]


def test_the_same_images_are_the_same_data_set(root: Path, tmp_path: Path) -> None:
    far = index_dataset(Workspace(tmp_path / "far"), "set", roots=[BUCKET])
    near = index_dataset(Workspace(tmp_path / "near"), "set", roots=[root])
    assert far.meta["roots"] == [BUCKET]
    pd.testing.assert_frame_equal(far.table[TAKEN], near.table[TAKEN])
    assert far.digest() == near.digest()


@pytest.mark.parametrize("few", [256, 1])  # by threads, and by processes that are forked
def test_the_commands_read_them(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(decoders, "FEW", few)
    network = ["--backbone", "timm:test_vit", "--weights", "random", "--image-size", "32"]
    stores = {}
    for place, where in (("far", f"{BUCKET}/"), ("near", str(root))):
        about = ["--workspace", str(tmp_path / place)]
        app(["index", "mine", "--root", where, *about], standalone_mode=False)
        extract = ["extract", "--dataset", "mine", *network, "--workers", "2", *about]
        app(extract, standalone_mode=False)
        found = frostline.Workspace(tmp_path / place).extract(
            "mine", "timm:test_vit", weights="random", image_size=32
        )
        stores[place] = found.frame().sort_values("image_id")
    assert len(stores["far"]) == 24
    pd.testing.assert_frame_equal(
        stores["far"].reset_index(drop=True), stores["near"].reset_index(drop=True)
    )


def test_only_what_changed_is_read_again(
    root: Path, tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    facts = files.read_file_facts
    monkeypatch.setattr(
        files,
        "read_file_facts",
        lambda path, pages: read.append(path.name) or facts(path, pages),  # type: ignore[func-returns-value]
    )
    workspace = Workspace(tmp_path / "ws")
    before = index_dataset(workspace, "set", roots=[BUCKET])
    assert len(read) == 24
    index_dataset(workspace, "set", roots=[BUCKET])
    assert len(read) == 24
    first, second = before.table["path"][:2]
    bucket.pipe(f"/bucket/set/{first}", (root / second).read_bytes())
    after = index_dataset(workspace, "set", roots=[BUCKET])
    assert read[24:] == [Path(first).name]
    assert after.table["content_key"][0] == after.table["content_key"][1]
    # A file system that tells no time: all are read, and equal.
    monkeypatch.setattr(type(bucket), "modified", fsspec.AbstractFileSystem.modified)
    index_dataset(workspace, "set", roots=[BUCKET])
    assert len(read) == 25 + 24
    index_dataset(workspace, "set", roots=[BUCKET])
    assert len(read) == 25 + 48


def test_bytes_that_changed_since_are_refused(root: Path, tmp_path: Path, bucket: Any) -> None:
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[BUCKET])
    first, second, third = manifest.table["path"][:3]
    bucket.pipe(f"/bucket/set/{first}", (root / second).read_bytes())
    source = pixel_source(workspace, manifest, Geometry("shorter", 32, 32), on_error="skip")
    bucket.rm(f"/bucket/set/{third}")
    assert len(fill_pixels(source)) == 22
    changed, gone = sorted(source.skipped, key=lambda text: "there is no" in text)
    assert changed.startswith(f"Image {BUCKET}/{first} changed after it was indexed")
    assert gone == f"Cannot read image {BUCKET}/{third}: there is no such file."


def test_volumes_tables_and_large_files(
    tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opened, "IN_MEMORY", 64)  # then files are copied to disk
    rng, folder = np.random.default_rng(0), tmp_path / "volumes"
    folder.mkdir()
    rows = []
    for number in range(6):
        for name, values in (("i", rng.normal(size=(8, 9, 5))), ("m", np.ones((8, 9, 5)))):
            image = nib.Nifti1Image(values.astype(np.float32), np.eye(4))
            nib.save(image, folder / f"{name}{number}.nii.gz")
        rows.append([f"i{number}.nii.gz", f"m{number}.nii.gz", "ab"[number % 2], number])
    table = pd.DataFrame(rows, columns=["image", "mask", "label", "patient"])
    table.to_csv(folder / "table.csv", index=False)
    bucket.put(f"{folder}/", "/bucket/set", recursive=True)
    options = {"table": "table.csv", "image": "{image}", "mask": "{mask}"}
    options |= {"label_column": "label", "group_column": "patient"}
    geometry, found = Geometry("shorter", 32, 32, window={"range": [-3, 3]}), {}
    for place, where in (("far", BUCKET), ("near", folder)):
        workspace = Workspace(tmp_path / place)
        for _ in range(2):  # again, from what is known
            manifest = index_dataset(
                workspace, "set", kind="mri-slices", roots=[where], options=options
            )
        pixels = fill_pixels(pixel_source(workspace, manifest, geometry))
        found[place] = manifest.table[TAKEN], pixels.read(pixels.locate(manifest.keys()))
    pd.testing.assert_frame_equal(found["far"][0], found["near"][0])
    assert len(found["far"][1]) == 30
    assert np.array_equal(found["far"][1], found["near"][1])


@pytest.mark.parametrize("path", ["../x.png", "/x.png", "s3://other/x.png", "a::file:///etc/x.png"])
def test_paths_do_not_leave_the_bucket(root: Path, tmp_path: Path, path: str) -> None:
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", roots=[BUCKET])
    manifest.table.loc[0, "path"] = path
    with pytest.raises(InputError, match=r"^Path .* leaves its root: paths must stay inside\.$"):
        write_manifest(workspace.manifest("set"), manifest)
    # Nor those of a table that names files.
    names = [path, *manifest.table["path"][1:]]
    table = tmp_path / "table.csv"
    pd.DataFrame({"file": names, "label": manifest.table["label"]}).to_csv(table, index=False)
    options = {"table": str(table), "image_column": "file", "label_column": "label"}
    with pytest.raises(InputError, match=r"there is no file|lies outside"):
        index_dataset(workspace, "other", kind="table", roots=[BUCKET], options=options)


def test_on_disk_such_names_are_names(tmp_path: Path) -> None:
    manifest = Manifest(pd.DataFrame(), {"roots": [str(tmp_path)]})
    images = make_images(tmp_path / "images", 4)
    next(images.rglob("*.png")).rename(images / "a" / "x::y.png")
    workspace = Workspace(tmp_path / "ws")
    index_dataset(workspace, "set", roots=[images])
    manifest = read_manifest(workspace.manifest("set"))
    assert "a/x::y.png" in set(manifest.table["path"])


def test_a_url_of_this_disk_is_a_folder(tmp_path: Path) -> None:
    images = make_images(tmp_path / "images", 4)
    manifest = index_dataset(Workspace(tmp_path / "ws"), "set", roots=[f"file://{images}"])
    assert manifest.meta["roots"] == [str(images)]


def test_a_table_may_name_files_by_their_url(root: Path, tmp_path: Path) -> None:
    names = [f"{BUCKET}/{path.relative_to(root)}" for path in sorted(root.rglob("*.png"))]
    pd.DataFrame({"file": names, "label": ["a", "b"] * 12}).to_csv(tmp_path / "t.csv", index=False)
    options = {"table": str(tmp_path / "t.csv"), "image_column": "file", "label_column": "label"}
    workspace = Workspace(tmp_path / "ws")
    manifest = index_dataset(workspace, "set", kind="table", roots=[BUCKET], options=options)
    assert sorted(f"{BUCKET}/{path}" for path in manifest.table["path"]) == sorted(names)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("memory://nothing/here", r"^There is no folder memory://nothing/here: correct --root\.$"),
        ("nope://a/b", r"^nope://a/b cannot be read \(.*\): correct the URL\.$"),
        ("zip://a::memory://b", r"^zip://a::memory://b is a chain of addresses: give a single "),
    ],
)
def test_a_url_that_cannot_be_read_is_one_sentence(tmp_path: Path, url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        index_dataset(Workspace(tmp_path / "ws"), "set", roots=[url])


def test_a_bucket_that_cannot_be_asked_is_one_sentence(
    root: Path, tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bool:
        raise RuntimeError("Unable to locate credentials")

    monkeypatch.setattr(type(bucket), "isdir", refuse)
    said = rf"^Cannot read {BUCKET} \(Unable to locate credentials\): correct --root, or what"
    with pytest.raises(InputError, match=said):
        index_dataset(Workspace(tmp_path / "ws"), "set", roots=[BUCKET])


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "upath", None)
    said = r"^memory://a cannot be read without a package .*`pip install 'frostline\[s3\]'` brings"
    with pytest.raises(InputError, match=said):
        as_path("memory://a")


def test_a_study_may_have_its_images_in_a_bucket(tmp_path: Path) -> None:
    entry = {"root": [BUCKET, "here"]}
    study = {"name": "s", "datasets": {"mine": entry}, "backbones": ["timm:test_vit"]}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump({**study, "protocols": {"frozen": {"head": "knn"}}}))
    assert read_study(file).datasets["mine"].roots() == [BUCKET, str(tmp_path / "here")]

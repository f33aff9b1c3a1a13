"""What scikit-learn, pandas and other tools get of a store, and what comes back from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from frostline.cache import (
    EmbeddingStore,
    InputError,
    Manifest,
    Workspace,
    read_manifest,
    write_manifest,
)
from frostline.cache.export import export_embeddings
from frostline.cache.imports import import_embeddings

from .conftest import SPEC, rows


@pytest.fixture
def opened(workspace: Workspace) -> EmbeddingStore:
    return EmbeddingStore.open(workspace, "set", "timm:tiny")


def test_values_and_keys_are_of_the_same_rows(opened: EmbeddingStore) -> None:
    keys, values = rows(12)
    np.testing.assert_array_equal(opened.keys, keys)
    np.testing.assert_array_equal(opened.values, values)


def test_a_frame_has_a_row_an_image(opened: EmbeddingStore) -> None:
    frame = opened.frame()
    assert list(frame.columns) == ["label", "group_id", "split", *(f"e{n}" for n in range(5))]
    assert frame.index.name == "image_id"
    np.testing.assert_array_equal(frame.loc["a/7.png"].iloc[3:].astype("f4"), rows(12)[1][7])
    part = Manifest(opened.manifest.table.iloc[[5, 2]], opened.manifest.meta)
    assert opened.frame(part).index.tolist() == ["a/5.png", "a/2.png"]


def test_arrays_are_of_labelled_images_of_the_splits(workspace: Workspace) -> None:
    manifest = read_manifest(workspace.manifest("set"))
    manifest.table.loc[3, "label"] = pd.NA
    write_manifest(workspace.manifest("set"), manifest)
    store = EmbeddingStore.open(workspace, "set", "timm:tiny")
    X, y, groups = store.arrays("train")
    chosen = [2, 4, 5, 8, 9, 10, 11]
    np.testing.assert_array_equal(X, rows(12)[1][chosen])
    assert y.tolist() == ["xy"[n % 2] for n in chosen]
    assert groups.tolist() == [f"p{n // 2}" for n in chosen]
    assert len(store.arrays()[0]) == 11
    with pytest.raises(InputError, match="'set' has no image with a label and .* in split val"):
        store.arrays("val")
    with pytest.raises(InputError, match="There is no split 'tset': a split is one of train, val"):
        store.arrays("train", "tset")


def read_export(path: Path) -> tuple[list[str], np.ndarray, list[str], Any]:
    """Ids, vectors, labels and spec of an exported file."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return (
                file["image_id"].tolist(),
                file["X"],
                file["label"].tolist(),
                json.loads(str(file["spec"])),
            )
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            ids, labels = (file[name].asstr()[()].tolist() for name in ("image_id", "label"))
            return ids, file["X"][()], labels, json.loads(file.attrs["spec"])
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
        spec = json.loads(pq.read_schema(path).metadata[b"spec"])
        return (
            table["image_id"].tolist(),
            np.stack(table["embedding"]),
            table["label"].tolist(),
            spec,
        )
    table = pd.read_csv(path)
    numbers = table.filter(regex=r"^e\d+$").to_numpy(np.float32)
    return table["image_id"].tolist(), numbers, table["label"].tolist(), SPEC


@pytest.mark.parametrize("to", ["npz", "parquet", "csv", "h5"])
def test_an_export_has_ids_labels_and_vectors(
    opened: EmbeddingStore, tmp_path: Path, to: str
) -> None:
    path = tmp_path / f"out.{to}"
    assert export_embeddings(opened, path, to) == 12
    ids, X, labels, spec = read_export(path)
    assert ids == opened.manifest.table["image_id"].tolist()
    np.testing.assert_array_equal(X, rows(12)[1])
    assert labels == ["x", "y"] * 6
    assert spec == SPEC


def test_an_unknown_format_is_named(opened: EmbeddingStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exported to 'mat': use npz, parquet, csv, h5"):
        export_embeddings(opened, tmp_path / "x.mat", "mat")
    assert list(tmp_path.glob("x*")) == []


@pytest.mark.parametrize("to", ["npz", "parquet", "csv"])
def test_what_was_exported_is_imported_with_its_spec_and_marked(
    workspace: Workspace, opened: EmbeddingStore, tmp_path: Path, to: str
) -> None:
    path = tmp_path / f"out.{to}"
    export_embeddings(opened, path, to)
    found = import_embeddings(workspace, "set", "theirs", path, {"model": "x"})
    assert (found.count, found.strangers) == (12, 0)
    key = found.key
    store = EmbeddingStore.open(workspace, "set", "theirs")
    np.testing.assert_array_equal(store.frame().iloc[:, 3:], rows(12)[1])
    assert store.store.key == key
    assert store.store.spec["model"] == "x"
    assert len(store.store.spec["imported"]) == 32
    assert store.store.provenance["weights_source"] == "imported"
    again = import_embeddings(workspace, "set", "theirs", path, {"model": "x"})
    assert again == replace(found, count=0)
    np.savez(tmp_path / "other.npz", image_id=["a/1.png", "no.png"], X=np.ones((2, 3), "f4"))
    other = import_embeddings(workspace, "set", "theirs", tmp_path / "other.npz", {"model": "x"})
    assert (other.key == key, other.count, other.strangers) == (False, 1, 1)


@pytest.mark.parametrize(
    ("ids", "X", "message"),
    [
        (["a/1.png", "a/1.png"], np.ones((2, 3)), "Image id 'a/1.png' occurs twice"),
        (["a/1.png"], np.full((1, 3), np.nan), "of image 'a/1.png' in .* holds NaN or infinity"),
        (["b"], np.ones((1, 3)), "No image_id of .* the file says 'b', for instance, and"),
        (["a/1.png"], np.ones((2, 3)), r"holds 1 image ids and embeddings of shape \(2, 3\)"),
    ],
)
def test_what_cannot_be_imported_is_named(
    workspace: Workspace, tmp_path: Path, ids: list[str], X: np.ndarray, message: str
) -> None:
    np.savez(tmp_path / "x.npz", image_id=ids, X=X)
    with pytest.raises(InputError, match=message):
        import_embeddings(workspace, "set", "theirs", tmp_path / "x.npz")
    (tmp_path / "x.csv").write_text("id,e0\na,1\n")
    with pytest.raises(
        InputError, match=r"x.csv has no column 'image_id', but 'id', 'e0': give an .npz"
    ):
        import_embeddings(workspace, "set", "theirs", tmp_path / "x.csv")
    assert not workspace.embeddings("set", "theirs").exists()

"""Embeddings of another tool, taken into a store that says so."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.keys import file_key, spec_key
from frostline.cache.manifest import as_keys, read_manifest
from frostline.cache.stamped import read_any_frame
from frostline.cache.stores.part import EMBEDDINGS
from frostline.cache.stores.store import Store, part_files
from frostline.cache.stores.values import Values
from frostline.cache.stores.writer import StoreWriter
from frostline.cache.tables.delimited import SUFFIXES, read_delimited
from frostline.cache.tables.matching import match_images
from frostline.cache.tables.telling import telling_columns
from frostline.cache.tables.vectors import (
    ABOUT,
    FORMATS,
    Vectors,
    check_embedding_columns,
    vectors_of_npz,
    vectors_of_table,
)
from frostline.cache.tables.words import counted
from frostline.cache.workspace import Workspace, check_new

NAMED = 5  # columns in a sentence
IMPORTED = "imported"  # for where weights come from


@dataclass(frozen=True)
class Imported:
    """What was taken from a file of embeddings.

    Attributes
    ----------
    key : str
        Of the store.
    count : int
        Images taken in now.
    strangers : int
        Rows of the file that are of no image of the data set.
    lacking : int
        Images of the data set that are not in the file.
    features : int
        Numbers an image.
    taken, left_out : str and tuple of str
        Which columns these are, and which are not among them.
    matched : str
        By what images were found, if not by their `image_id`; else "".
    """

    key: str
    count: int
    strangers: int
    lacking: int
    features: int
    taken: str
    left_out: tuple[str, ...]
    matched: str = ""

    def __str__(self) -> str:
        """Say it in sentences."""
        left_out = f" Left out: {_some(self.left_out)}." if self.left_out else ""
        left_out += f" Images were found by {self.matched}." if self.matched else ""
        return (
            f"Imported {counted(self.count, 'embedding')}; skipped "
            f"{counted(self.strangers, 'row')} of no image of the data set; images without an "
            f"embedding: {self.lacking:,}. Taken: {self.taken}, "
            f"{counted(self.features, 'feature')}.{left_out} Key {self.key[:12]}."
        )


def import_embeddings(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    path: Path,
    spec: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    *,
    columns: Mapping[str, str] | None = None,
) -> Imported:
    """Take a file of embeddings into a store of a data set that has a manifest.

    The spec is what is given, plus `backbone` and `imported`: the digest of the file, so that two
    files never share a store. Importing the same file again changes nothing. Warns of a column by
    which alone the class is known, and of embeddings that are all the same.

    Parameters
    ----------
    path : Path
        `.npz`, Parquet or CSV, as `read_vectors` takes it.
    origin : mapping, optional
        What is known of the backbone: `backbone_origin` of the provenance (docs/format.md).
    columns : mapping of str to str, optional
        Our names, `image_id` and `embedding`, and those of the file.

    Raises
    ------
    InputError
        If the file cannot be read as one of these, an image_id occurs twice, a number is not
        finite, no image of the data set is in it, or not every system can keep the backbone's name.
    """
    manifest = read_manifest(workspace.manifest(dataset))
    place = workspace.embeddings(dataset, backbone)
    check_new(place)
    vectors = read_vectors(path, columns)
    whole = {**(spec or {}), "backbone": backbone, "imported": file_key(path).hex()}
    whole |= {"columns": dict(columns)} if columns else {}
    folder = place / spec_key(whole)
    images = manifest.table.set_index("image_id")
    matched = match_images(vectors.ids, images.index, path, dataset)
    known = matched.ids.notna().to_numpy()
    mine, values = images.loc[matched.ids[known]], vectors.values[known]
    count = _write(folder, as_keys(mine["content_key"]), values, whole, path, origin)
    _warn(path, vectors, values, mine["label"].tolist())
    return Imported(
        folder.name,
        count,
        int((~known).sum()),
        int((~images.index.isin(matched.ids)).sum()),
        values.shape[1],
        vectors.taken,
        vectors.left_out,
        matched.how,
    )


def read_vectors(path: Path, columns: Mapping[str, str] | None = None) -> Vectors:
    """Read ids and vectors of `.npz` (`vectors_of_npz`), Parquet or CSV (`vectors_of_table`).

    Raises
    ------
    InputError
        If the file cannot be read so, or which columns are meant is not clear.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path} to import: check its name.")
    if columns is not None:
        check_embedding_columns(columns)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return vectors_of_npz(path, columns)
    if suffix == ".parquet":
        frame = read_any_frame(path, remedy="make it again")[0]
        return vectors_of_table(path, frame.reset_index(drop=True).rename(columns=str), columns)
    if suffix in SUFFIXES:
        text = {*ABOUT, (columns or {}).get("image_id", "image_id")}
        return vectors_of_table(path, read_delimited(path, text_columns=text), columns)
    raise InputError(f"{path} is of no format that is imported: {FORMATS}.")


def _write(
    folder: Path,
    keys: np.ndarray,
    values: np.ndarray,
    spec: Mapping[str, Any],
    path: Path,
    origin: Mapping[str, Any] | None,
) -> int:
    """Write what the store lacks, and say how many rows that are."""
    _, first = np.unique(keys, axis=0, return_index=True)
    first.sort()  # images of equal content share a row
    keys, rows = keys[first], values[first]
    new = np.ones(len(keys), bool)
    if part_files(folder):
        new = Store.open(folder).locate(keys) < 0
    made = Values(f"{path}")
    made.add(rows[new])
    made.warn()
    provenance: dict[str, Any] = {"weights_source": IMPORTED, "file": path.name}
    provenance |= {"backbone_origin": dict(origin)} if origin else {}
    with StoreWriter(folder, EMBEDDINGS, spec, provenance) as writer:
        writer.append(keys[new], rows[new])
    return int(new.sum())


def _warn(path: Path, vectors: Vectors, values: np.ndarray, labels: Sequence[str | None]) -> None:
    seen = Values(f"{path}")
    seen.add(values)
    seen.warn()
    known = [label if isinstance(label, str) else None for label in labels]
    telling = telling_columns(values, known)
    if telling:
        names = _some([vectors.names[place] for place in telling])
        warnings.warn(
            f"{path}: {names} alone {'tells' if len(telling) == 1 else 'tell'} the class of more "
            "than 99% of the images: if that is the label, an index, or an order of the files, "
            "leave it out and import again.",
            stacklevel=2,
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(repr, names[:NAMED])) + more

"""Embeddings of another tool, taken into a store that says so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.keys import file_key, spec_key
from frostline.cache.manifest import as_keys, read_manifest
from frostline.cache.stores.part import EMBEDDINGS
from frostline.cache.stores.store import Store, part_files
from frostline.cache.stores.values import Values
from frostline.cache.stores.writer import StoreWriter
from frostline.cache.workspace import Workspace

NOT_NUMBERS = ("label", "group_id", "split", "true_label", "prediction")


def import_embeddings(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    path: Path,
    spec: Mapping[str, Any] | None = None,
) -> tuple[str, int, int]:
    """Take a file of embeddings into a store of a data set that has a manifest.

    The spec is what is given, plus `backbone` and `imported`: the digest of the file, so that two
    files never share a store. Importing the same file again changes nothing.

    Parameters
    ----------
    path : Path
        `.npz` with `image_id` [n] and `X` [n, dim]; Parquet with a column `image_id` and a column
        `embedding` of lists, or one column a number; CSV with `image_id` and one column a number.

    Returns
    -------
    (str, int, int)
        The store's key, how many images were taken in, and how many rows of the file are of no
        image of the data set.

    Raises
    ------
    InputError
        If the file cannot be read as one of these, an image_id occurs twice, a number is not
        finite, or no image of the data set is in it.
    """
    manifest = read_manifest(workspace.manifest(dataset))
    ids, values = _read(path)
    _check(path, ids, values)
    whole = {**(spec or {}), "backbone": backbone, "imported": file_key(path).hex()}
    folder = workspace.embeddings(dataset, backbone) / spec_key(whole)
    contents = manifest.table.set_index("image_id")["content_key"]
    known = ids.isin(contents.index).to_numpy()
    if not known.any():
        raise InputError(
            f"No image_id of {path} is in data set {dataset!r}: they look like {ids.iloc[0]!r} "
            f"there and like {contents.index[0]!r} here."
        )
    keys = as_keys(contents[ids[known]])
    _, first = np.unique(keys, axis=0, return_index=True)
    first.sort()  # images of equal content share a row
    keys, rows = keys[first], values[known][first]
    new = np.ones(len(keys), bool)
    if part_files(folder):
        new = Store.open(folder).locate(keys) < 0
    made = Values(f"{path}")
    made.add(rows[new])
    made.warn()
    provenance = {"weights_source": "imported", "file": path.name}
    with StoreWriter(folder, EMBEDDINGS, whole, provenance) as writer:
        writer.append(keys[new], rows[new])
    return folder.name, int(new.sum()), int((~known).sum())


def _read(path: Path) -> tuple[pd.Series, np.ndarray]:
    if not path.is_file():
        raise InputError(f"There is no file {path} to import: check its name.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return pd.Series(file["image_id"].astype(str)), _floats(file["X"])
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        return _from_frame(frame)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} cannot be imported ({str(error).strip().splitlines()[0]}): give an .npz with "
            "image_id and X, or a Parquet or CSV file with image_id and the embeddings."
        ) from error


def _from_frame(frame: pd.DataFrame) -> tuple[pd.Series, np.ndarray]:
    ids = frame["image_id"].astype(str)
    if "embedding" in frame:
        return ids, _floats(np.stack(frame["embedding"].to_list()))
    numbers = frame.drop(columns=["image_id", *(set(NOT_NUMBERS) & set(frame.columns))])
    return ids, _floats(numbers.to_numpy())


def _floats(values: np.ndarray) -> np.ndarray:
    kept = values if values.dtype in (np.float16, np.float32) else values.astype(np.float32)
    return np.ascontiguousarray(kept)


def _check(path: Path, ids: pd.Series, values: np.ndarray) -> None:
    if values.ndim != 2 or len(values) != len(ids) or not values.size:
        raise InputError(
            f"{path} holds {len(ids)} image ids and embeddings of shape {values.shape}: there must "
            "be one vector an image."
        )
    if ids.duplicated().any():
        raise InputError(
            f"Image id {ids[ids.duplicated()].iloc[0]!r} occurs twice in {path}: keep one row."
        )
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise InputError(
            f"The embedding of image {ids[bad].iloc[0]!r} in {path} holds NaN or infinity: leave "
            "such images out."
        )

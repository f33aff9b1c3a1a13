"""Embeddings for other tools: ids, labels, groups and splits joined to the vectors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.atomic import atomic_write
from frostline.cache.embeddings import EmbeddingStore
from frostline.cache.errors import InputError

ABOUT = ("image_id", "label", "group_id", "split")
Writer = Callable[[Path, pd.DataFrame, np.ndarray, dict[str, Any]], None]


def export_embeddings(
    store: EmbeddingStore, path: Path, to: str, *, label: str = "label", split: str = "split"
) -> int:
    """Write the embeddings of a data set's images, in the order of its manifest.

    Parameters
    ----------
    to : str
        `npz` (arrays `X`, `image_id`, `label`, `group_id`, `split`, and `spec` as JSON), `h5` (the
        same as data sets, `spec` an attribute), `parquet` (a column `embedding` of lists), or
        `csv` (columns e0, e1, …).

    Returns
    -------
    int
        Number of images written.

    Raises
    ------
    InputError
        If there is no such format, or no image has an embedding.
    """
    if to not in WRITERS:
        raise InputError(f"Embeddings cannot be exported to {to!r}: use {', '.join(WRITERS)}.")
    frame = store.frame(label=label, split=split)
    if frame.empty:
        raise InputError(
            f"No image of the data set has an embedding in {store.store.folder}: run "
            "`frostline extract` first."
        )
    about = frame.reset_index()[list(ABOUT)]
    X = frame.iloc[:, len(ABOUT) - 1 :].to_numpy(store.store.dtype)
    with atomic_write(path) as temporary:
        WRITERS[to](temporary, about, X, store.store.spec)
    return len(frame)


def _texts(about: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the columns as arrays of text, empty where nothing is known."""
    return {name: about[name].fillna("").to_numpy(str) for name in ABOUT}


def _npz(path: Path, about: pd.DataFrame, X: np.ndarray, spec: dict[str, Any]) -> None:
    with path.open("wb") as file:
        np.savez(file, X=X, spec=np.array(json.dumps(spec)), **_texts(about))  # type: ignore[arg-type]


def _h5(path: Path, about: pd.DataFrame, X: np.ndarray, spec: dict[str, Any]) -> None:
    import h5py

    # HDF5's own lock would meet the one that says that the file's writer lives.
    with h5py.File(path, "w", locking=False) as file:
        file["X"] = X
        file.attrs["spec"] = json.dumps(spec)
        for name, values in _texts(about).items():
            file.create_dataset(name, data=values.astype(object), dtype=h5py.string_dtype())


def _parquet(path: Path, about: pd.DataFrame, X: np.ndarray, spec: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(about, preserve_index=False)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1])
    table = table.append_column("embedding", vectors)
    metadata = {**(table.schema.metadata or {}), b"spec": json.dumps(spec)}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def _csv(path: Path, about: pd.DataFrame, X: np.ndarray, spec: dict[str, Any]) -> None:
    columns = [f"e{number}" for number in range(X.shape[1])]
    pd.concat([about, pd.DataFrame(X, columns=columns)], axis=1).to_csv(path, index=False)


WRITERS: dict[str, Writer] = {"npz": _npz, "parquet": _parquet, "csv": _csv, "h5": _h5}

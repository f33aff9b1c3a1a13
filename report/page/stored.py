"""Statistics kept with a report, so that writing it again does not compute them again.

`docs/format.md` specifies the files: any table here can be deleted, and is then computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from frostline.cache.errors import READ_ERRORS
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.report.notes import notes_from_json, notes_to_json
from frostline.report.predictions import Predictions

FORMAT = "frostline-statistics"
# Raised whenever a formula changes, so that no number of an older one is shown.
FORMAT_VERSION = 3


def digest_predictions(run: Predictions) -> str:
    """Compute the digest of a run's rows and metadata, in 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(
        json.dumps([run.meta, list(run.table.columns)], sort_keys=True, default=str).encode()
    )
    digest.update(pd.util.hash_pandas_object(run.table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def digest_of(ingredients: Sequence[object]) -> str:
    """Compute the digest of what JSON can say, in 32 hexadecimal digits."""
    text = json.dumps(list(ingredients), sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def read_or_compute(
    path: Path, ingredients: Sequence[object], compute: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Read the table at `path` if it was made from these ingredients, else compute and keep it.

    Parameters
    ----------
    path : Path
        Ends in `.parquet`.
    ingredients : sequence
        All that the table depends on, as JSON can say it.
    """
    key = digest_of(ingredients)
    found = _read(path, key)
    if found is None:
        _write(path, compute().reset_index(drop=True), key)
        # As it is read, so that first and later reports are the same.
        found = _read(path, key)
    assert found is not None
    return found


def _write(path: Path, frame: pd.DataFrame, key: str) -> None:
    """Write a table; columns of mixed types as JSON, a value a cell."""
    import pyarrow as pa

    mixed = [str(name) for name in frame.columns if frame[name].dtype == object]
    for name in mixed:
        frame = frame.assign(**{name: [_to_json(value) for value in frame[name]]})
    data = pa.Table.from_pandas(frame, preserve_index=False)
    write_parquet(path, data, FORMAT, FORMAT_VERSION, {"key": key, "json": mixed})


def _read(path: Path, key: str) -> pd.DataFrame | None:
    """Read a table; give None if it is missing, damaged or made from other things."""
    try:
        data, meta = read_parquet(path, FORMAT, FORMAT_VERSION)
        if (meta["format_version"], meta["key"]) != (FORMAT_VERSION, key):
            return None
        frame = data.to_pandas()
        for name in meta["json"]:
            frame[name] = pd.Series([json.loads(value) for value in frame[name]], dtype=object)
        if "notes" in frame:
            frame["notes"] = frame["notes"].map(notes_from_json)
    except READ_ERRORS:  # InputError among them
        return None
    return frame


def _to_json(value: object) -> str:
    if isinstance(value, tuple):
        value = notes_to_json(value)
    if hasattr(value, "item"):
        value = value.item()
    return json.dumps(None if value is pd.NA else value)

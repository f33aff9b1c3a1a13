"""Statistics kept with a report, so that writing it again does not compute them again.

`docs/format.md` specifies the files: any table here can be deleted, and is then computed again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from frostline.cache.atomic import atomic_write
from frostline.report.notes import notes_from_json, notes_to_json
from frostline.report.predictions import METADATA_KEY, Predictions

FORMAT = "frostline-statistics"
# Raised whenever a formula changes, so that no number of an older one is shown.
FORMAT_VERSION = 1


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
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, "key": digest_of(ingredients)}
    found = _read(path, about) if path.is_file() else None
    if found is None:
        frame = compute().reset_index(drop=True)
        _write(path, frame, about)
        # As it is read, so that first and later reports are the same.
        found = _read(path, about)
    assert found is not None
    return found


def _write(path: Path, frame: pd.DataFrame, about: dict[str, object]) -> None:
    """Write the table, columns of mixed types as JSON, one value for each cell."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    mixed = [str(name) for name in frame.columns if frame[name].dtype == object]
    for name in mixed:
        frame = frame.assign(**{name: [_to_json(value) for value in frame[name]]})
    data = pa.Table.from_pandas(frame, preserve_index=False)
    text = json.dumps({**about, "json": mixed})
    data = data.replace_schema_metadata({**(data.schema.metadata or {}), METADATA_KEY: text})
    with atomic_write(path) as temporary:
        pq.write_table(data, temporary, compression="zstd")


def _read(path: Path, about: dict[str, object]) -> pd.DataFrame | None:
    """Read the table; None if it holds something else or is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        data = pq.read_table(path)
    except (pa.ArrowInvalid, OSError):
        return None
    text = (data.schema.metadata or {}).get(METADATA_KEY, b"{}")
    meta = json.loads(text)
    if any(meta.get(name) != value for name, value in about.items()):
        return None
    frame = data.to_pandas()
    for name in meta["json"]:
        frame[name] = pd.Series([json.loads(value) for value in frame[name]], dtype=object)
    if "notes" in frame:
        frame["notes"] = frame["notes"].map(notes_from_json)
    return frame


def _to_json(value: object) -> str:
    if isinstance(value, tuple):
        value = notes_to_json(value)
    if hasattr(value, "item"):
        value = value.item()
    return json.dumps(None if value is pd.NA else value)

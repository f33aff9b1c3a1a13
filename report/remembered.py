"""Statistics kept beside a report, so that writing it again does not compute them again.

`docs/format.md` specifies the files: any table here can be deleted, and is then made anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from frostline.report.atomic import atomic_path
from frostline.report.predictions import METADATA_KEY, Predictions

FORMAT = "frostline-statistics"
# Raised whenever a formula changes, so that no number of an older one is shown.
FORMAT_VERSION = 1


def digest_predictions(run: Predictions) -> str:
    """Digest of a run's rows and metadata, in 32 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([run.meta, list(run.table.columns)], sort_keys=True, default=str).encode())
    digest.update(pd.util.hash_pandas_object(run.table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def remember(
    path: Path, ingredients: Sequence[object], compute: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """The table at `path` if it was made from these ingredients, else compute and keep it.

    Parameters
    ----------
    path : Path
        Ends in `.parquet`.
    ingredients : sequence
        All that the table depends on, as JSON can say it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = json.dumps(list(ingredients), sort_keys=True, default=str)
    about = {
        "format": FORMAT, "format_version": FORMAT_VERSION,
        "key": hashlib.blake2b(text.encode(), digest_size=16).hexdigest(),
    }  # fmt: skip
    wanted = json.dumps(about).encode()
    if path.is_file():
        try:
            data = pq.read_table(path)
        except (pa.ArrowInvalid, OSError):
            data = None
        if data is not None and (data.schema.metadata or {}).get(METADATA_KEY) == wanted:
            return data.replace_schema_metadata(
                {k: v for k, v in data.schema.metadata.items() if k != METADATA_KEY}
            ).to_pandas()
    frame = compute().reset_index(drop=True)
    data = pa.Table.from_pandas(frame, preserve_index=False)
    data = data.replace_schema_metadata({**(data.schema.metadata or {}), METADATA_KEY: wanted})
    with atomic_path(path) as temporary:
        pq.write_table(data, temporary, compression="zstd")
    return data.to_pandas() if len(frame.columns) else frame

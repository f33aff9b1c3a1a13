"""Validation scores at rest: those of every candidate that was ever tried on a training set.

They lie in `sweeps/cells/<id>.parquet` in the workspace and are shared by all sweeps: a later one
with a wider grid computes the new candidates alone.
"""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from frostline.cache import InputError, Workspace, atomic_write
from frostline.probe.heads.training import Candidate
from frostline.probe.sweep.head_run import HeadRun

FORMAT = "frostline-sweep-cell"
FORMAT_VERSION = 1


def read_scores(workspace: Workspace, run: HeadRun) -> pd.DataFrame | None:
    """Read the scores of every candidate tried so far; None if none was.

    Raises
    ------
    InputError
        If the file is damaged, or a newer release wrote it.
    """
    path = run.scores_path(workspace)
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
        meta = json.loads((table.schema.metadata or {})[b"frostline"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no scores of a sweep ({error!r}): delete it.") from error
    if meta.get("format") != FORMAT or meta.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(f"{path} was written by a newer Frostline: install that, or delete it.")
    return table.to_pandas()


def write_scores(workspace: Workspace, run: HeadRun, scores: pd.DataFrame) -> None:
    """Write scores of candidates: columns `candidate` (JSON), `part`, `fold`, `epoch`, metrics."""
    meta = {"format": FORMAT, "format_version": FORMAT_VERSION, **run.identity()}
    data = pa.Table.from_pandas(scores, preserve_index=False)
    data = data.replace_schema_metadata({b"frostline": json.dumps(meta).encode()})
    with atomic_write(run.scores_path(workspace)) as temporary:
        pq.write_table(data, temporary, compression="zstd")


def text_of(candidate: Candidate) -> str:
    """Name a candidate in tables, by its JSON."""
    return json.dumps(dict(candidate), sort_keys=True)


def missing(run: HeadRun, scores: pd.DataFrame | None) -> list[Candidate]:
    """List the candidates that have no scores yet."""
    known = set() if scores is None else set(scores["candidate"])
    return [candidate for candidate in run.candidates if text_of(candidate) not in known]


def is_done(workspace: Workspace, run: HeadRun) -> bool:
    """Say whether nothing of a run is left to compute."""
    return run.is_predicted(workspace) and not missing(run, read_scores(workspace, run))

"""Validation scores at rest: those of every candidate that was ever tried on a training set.

They lie in `sweeps/cells/<id>.parquet` in the workspace and are shared by all sweeps: a later one
with a wider grid computes the new candidates alone.
"""

from __future__ import annotations

import json

import pandas as pd
import pyarrow as pa

from frostline.cache import Workspace
from frostline.cache.stamped import read_parquet, write_parquet
from frostline.probe.heads.training import Candidate
from frostline.probe.sweep.head_run import HeadRun

FORMAT = "frostline-sweep-cell"
FORMAT_VERSION = 2


def read_scores(workspace: Workspace, run: HeadRun) -> pd.DataFrame | None:
    """Read the scores of every candidate tried so far; None if none was.

    Raises
    ------
    InputError
        If the file is damaged, or a newer release wrote it.
    """
    path = run.scores_path(workspace)
    if not path.is_file():
        return None
    return read_parquet(path, FORMAT, FORMAT_VERSION)[0].to_pandas()


def write_scores(workspace: Workspace, run: HeadRun, scores: pd.DataFrame) -> None:
    """Write scores of candidates: columns `candidate` (JSON), `part`, `fold`, `epoch`, metrics."""
    data = pa.Table.from_pandas(scores, preserve_index=False).replace_schema_metadata(None)
    write_parquet(run.scores_path(workspace), data, FORMAT, FORMAT_VERSION, run.identity())


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

"""Compute head runs that share their embeddings: score what is new, select, fit, predict, write.

Every run is written as soon as it is done, by the process that did it, so that an interrupt loses
what was in hand and nothing else.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import Store, Workspace, read_manifest
from frostline.probe.embedded import Embedded, pooled_images, split_images, with_embeddings
from frostline.probe.heads.scoring import METRICS, scored_groups
from frostline.probe.heads.training import Fit, Index, Part, Pool
from frostline.probe.patients import to_patients
from frostline.probe.sweep.head_run import Data, HeadRun
from frostline.probe.sweep.run_files import Trained, write_run
from frostline.probe.sweep.selection import Choice, choices
from frostline.probe.sweep.training_rows import TrainingRows, training_rows
from frostline.probe.sweep.validation_scores import missing, read_scores, text_of, write_scores
from frostline.probe.views import add_views, viewed_part


@dataclass(frozen=True)
class SweepTask:
    """Runs of one head, seed and embedding store."""

    root: Path
    runs: tuple[HeadRun, ...]


@dataclass(frozen=True)
class Done:
    """What a task reports: heads scored, and sentences that a person should read."""

    heads: int
    said: tuple[str, ...]


@dataclass(frozen=True)
class Loaded:
    """Images with and without embeddings, and what heads see of them: these and their views."""

    images: pd.DataFrame
    embedded: Embedded
    pool: Pool
    store: Store
    views: list[Store]


def run_task(task: SweepTask) -> Done:
    """Do what is missing of some runs; warnings become sentences."""
    first = task.runs[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        workspace = Workspace(task.root)
        loaded = _load_once(workspace, first.data, first.training.cv is not None)
        train_runs(workspace, task.runs, loaded)
    said = dict.fromkeys(
        str(one.message) for one in caught if issubclass(one.category, UserWarning)
    )
    return Done(sum(run.heads() for run in task.runs), tuple(said))


def load(workspace: Workspace, data: Data, pooled: bool) -> Loaded:
    """Read the embeddings that runs train on.

    Parameters
    ----------
    workspace : Workspace
    data : Data
    pooled : bool
        Whether all labelled images count, whatever their split, as in a cross-validation.
    """
    manifest = read_manifest(workspace.manifest(data.dataset))
    store = Store.open(workspace.embeddings(data.dataset, data.backbone) / data.store_key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the runs were planned
        images = (
            pooled_images(manifest, data.label)
            if pooled
            else split_images(manifest, data.label, data.split)
        )
    plain = with_embeddings(images, store, data.dataset, on_missing=data.on_missing)
    embedded = plain if data.pooling is None else to_patients(plain, data.pooling)
    # Features of test images standardise nothing, unless every image is a test image once.
    reference = embedded.rows("test") if pooled else embedded.rows("train", "val")
    codes = pd.Categorical(embedded.images["label"], categories=embedded.classes).codes
    groups = _groups(embedded, embedded.rows("test" if pooled else "val"))
    pool = Pool(embedded.X, codes.astype(np.intp), embedded.classes, reference, groups)
    folder = workspace.views(data.dataset, data.backbone)
    views = [Store.open(folder / key) for key in data.views]
    if views:
        part = viewed_part(pooled=pooled)
        pool = add_views(pool, plain, embedded, views, data.pooling, part)
    return Loaded(images, embedded, pool, store, views)


def _groups(embedded: Embedded, held_out: Index) -> Index | None:
    """Give the group of every held-out row, int [n], -1 elsewhere; None where images are scored."""
    found = scored_groups(embedded.images.iloc[held_out])
    if found is None:
        return None
    groups = np.full(len(embedded.images), -1, np.intp)
    groups[held_out] = found
    return groups


# The same for every task of a store: a worker reads its embeddings once.
_load_once = lru_cache(maxsize=1)(load)


def train_runs(workspace: Workspace, runs: Sequence[HeadRun], loaded: Loaded) -> None:
    """Score what is new of runs of one head and seed, and write what validation selects."""
    start = time.perf_counter()
    rows = [training_rows(run, loaded.images, loaded.embedded) for run in runs]
    heads = _train_once(workspace, loaded.pool, runs[0], rows[0]) if len(runs) == 1 else None
    _score_missing(workspace, loaded.pool, runs, rows)
    todo = [place for place, run in enumerate(runs) if not run.is_predicted(workspace)]
    if not todo:
        return
    runs, rows = [runs[place] for place in todo], [rows[place] for place in todo]
    chosen = [_choices(workspace, run) for run in runs]
    heads = heads or _fit(loaded.pool, runs, rows, chosen)
    seconds = (time.perf_counter() - start) / len(runs)
    for run, own, picks, found in zip(runs, rows, chosen, heads, strict=True):
        trained = Trained(run, own, picks, found, round(seconds, 3))
        write_run(workspace, trained, loaded.embedded, loaded.store, loaded.views)


def _choices(workspace: Workspace, run: HeadRun) -> list[Choice]:
    scores = read_scores(workspace, run)
    assert scores is not None  # just written
    return choices(run, scores)


def _train_once(
    workspace: Workspace, pool: Pool, run: HeadRun, rows: TrainingRows
) -> list[list[Any]] | None:
    """Score the one candidate of a run, and give the head as it was after its best epoch.

    So what is scored is not trained again. None, and nothing is done, where the head is fitted to
    other rows, was scored before, or is one of several: trained side by side they are rounded
    otherwise than alone.
    """
    if run.kind.refits or run.training.cv or len(run.candidates) > 1:
        return None
    trainer = run.kind.load_trainer()
    if trainer.train is None or read_scores(workspace, run) is not None:
        return None
    (part,) = rows.parts
    table, heads = trainer.train(pool, _seen(pool, part), run.candidates, run.shared, run.seed)
    name = np.array([text_of(run.candidates[0])], dtype=object)
    write_scores(workspace, run, _joined([table], name, None))
    return [heads]


def _score_missing(
    workspace: Workspace, pool: Pool, runs: Sequence[HeadRun], rows: Sequence[TrainingRows]
) -> None:
    """Score new candidates of all runs together."""
    known = [read_scores(workspace, run) for run in runs]
    new = [missing(run, scores) for run, scores in zip(runs, known, strict=True)]
    # Runs that lack the same candidates (all of them, as a rule) go side by side.
    kinds = dict.fromkeys(tuple(text_of(one) for one in lacking) for lacking in new if lacking)
    trainer = runs[0].kind.load_trainer() if kinds else None
    for kind in kinds:
        assert trainer is not None
        mine = [i for i, lacking in enumerate(new) if tuple(map(text_of, lacking)) == kind]
        parts = [_seen(pool, part) for i in mine for part in rows[i].parts]
        tables = trainer.score(pool, parts, new[mine[0]], runs[0].shared, runs[0].seed)
        each = len(rows[mine[0]].parts)
        for place, i in enumerate(mine):
            own = tables[place * each : (place + 1) * each]
            table = _joined(own, np.array(kind, dtype=object), known[i])
            write_scores(workspace, runs[i], table)


def _seen(pool: Pool, part: Part) -> Part:
    """Let a part train on views, too; it is scored on images as they are."""
    return replace(part, train=pool.seen(part.train))


def _joined(parts: Sequence[pd.DataFrame], names: Any, known: pd.DataFrame | None) -> pd.DataFrame:
    """Scores of a run's parts as one table, after those that are known."""
    numbered = [one.assign(part=number) for number, one in enumerate(parts)]
    table = pd.concat(numbered, ignore_index=True)
    table["candidate"] = names[table["candidate"]]
    table = table[["candidate", "part", "fold", "epoch", *METRICS]]
    return table if known is None else pd.concat([known, table], ignore_index=True)


def _fit(
    pool: Pool,
    runs: Sequence[HeadRun],
    rows: Sequence[TrainingRows],
    chosen: Sequence[list[Choice]],
) -> list[list[Any]]:
    """Fit, for every run, the heads of `TrainingRows.fits`, all of them together."""
    fits: list[Fit] = []
    for run, own, picks in zip(runs, rows, chosen, strict=True):
        # After cross-validation every fold has its own choice; else one serves both fits.
        each = picks if run.training.cv else picks * len(own.fits)
        fits += [
            Fit(pool.seen(mine), pick.candidate, pick.epoch)
            for mine, pick in zip(own.fits, each, strict=True)
        ]
    heads = iter(runs[0].kind.load_trainer().fit(pool, fits, runs[0].shared, runs[0].seed))
    return [[next(heads) for _ in own.fits] for own in rows]

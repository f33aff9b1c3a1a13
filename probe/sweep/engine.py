"""Compute cells that share their embeddings: score what is new, select, fit, predict, write.

Every cell is written as soon as it is done, by the process that did it, so that an interrupt loses
what was in hand and nothing else.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import Store, Workspace, read_manifest
from frostline.probe.embedded import (
    Embedded,
    OnMissing,
    pooled_images,
    split_images,
    with_embeddings,
)
from frostline.probe.heads.families import FAMILIES, Fit, Part, Pool, pairs
from frostline.probe.heads.saved import save_head
from frostline.probe.heads.scoring import METRICS
from frostline.probe.sweep.cells import (
    Cell,
    Choice,
    hyperparameters,
    missing,
    read_scores,
    select,
    select_folds,
    text_of,
    write_scores,
)
from frostline.probe.sweep.draws import (
    Index,
    draw_order,
    drawn_rows,
    group_folds,
    validation_size,
)
from frostline.report import write_predictions

PACKAGES = ("frostline", "numpy", "scipy", "scikit-learn", "torch")


@dataclass(frozen=True)
class Task:
    """Cells of one head, seed and embedding store."""

    root: Path
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Done:
    """What a task reports: heads scored, and sentences that a person should read."""

    heads: int
    said: tuple[str, ...]


@dataclass(frozen=True)
class _Rows:
    """Rows of a cell."""

    parts: list[Part]
    final: list[Index]
    before: list[Index]
    predicted: list[Index]
    groups: int


def run_task(task: Task) -> Done:
    """Do what is missing of some cells."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _run(Workspace(task.root), task.cells)
    said = dict.fromkeys(
        str(one.message) for one in caught if issubclass(one.category, UserWarning)
    )
    return Done(sum(cell.heads() for cell in task.cells), tuple(said))


def _run(workspace: Workspace, cells: Sequence[Cell]) -> None:
    start = time.perf_counter()
    first = cells[0]
    data = _load(
        workspace, first.dataset, first.backbone, first.store_key, first.label, first.split,
        first.on_missing, first.cv is not None, first.manifest_digest,
    )  # fmt: skip
    rows = [_rows(data, cell) for cell in cells]
    _score_missing(workspace, data, cells, rows)
    choices = [_choices(workspace, cell) for cell in cells]
    todo = [
        place
        for place, cell in enumerate(cells)
        if not all(workspace.predictions(run).exists() for run in cell.runs())
    ]
    if todo:
        cells, rows, choices = _at(cells, todo), _at(rows, todo), _at(choices, todo)
        heads = _fit_selected(data.pool, cells, rows, choices)
        seconds = (time.perf_counter() - start) / len(cells)
        for cell, own, picks, found in zip(cells, rows, choices, heads, strict=True):
            _write(workspace, data, cell, own, picks, found, seconds)


def _choices(workspace: Workspace, cell: Cell) -> list[Choice]:
    """Of the cell as a whole; in a cross-validation, of every fold."""
    scores = read_scores(workspace, cell)
    assert scores is not None  # just written
    return select_folds(cell, scores) if cell.cv else [select(cell, scores)]


def _at(values: Sequence[Any], places: Sequence[int]) -> list[Any]:
    return [values[place] for place in places]


@dataclass(frozen=True)
class _Data:
    """Images with and without embeddings, and what heads see of them."""

    images: pd.DataFrame
    embedded: Embedded
    pool: Pool
    store: Store


@lru_cache(maxsize=1)
def _load(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    store_key: str,
    label: str,
    split: str,
    on_missing: OnMissing,
    pooled: bool,
    manifest_digest: str,
) -> _Data:
    """The same for every task of a store: a worker reads its embeddings once."""
    manifest = read_manifest(workspace.manifest(dataset))
    store = Store.open(workspace.embeddings(dataset, backbone) / store_key)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said when the sweep was planned
        images = pooled_images(manifest, label) if pooled else split_images(manifest, label, split)
    embedded = with_embeddings(images, store, dataset, on_missing=on_missing)
    reference = embedded.rows("test") if pooled else embedded.rows("train", "val")
    codes = _codes(embedded.images["label"], embedded.classes)
    return _Data(images, embedded, Pool(embedded.X, codes, embedded.classes, reference), store)


def _codes(labels: pd.Series, classes: list[str]) -> Index:
    return pd.Categorical(labels, categories=classes).codes.astype(np.intp)


def _rows(data: _Data, cell: Cell) -> _Rows:
    images = data.embedded.images
    if cell.cv:
        folds, repeat = cell.cv
        fold = group_folds(images, folds, repeat, cell.dataset)
        members = [np.flatnonzero(fold == number) for number in range(folds)]
        others = [np.flatnonzero(fold != number) for number in range(folds)]
        parts = [
            Part(np.flatnonzero((fold != a) & (fold != b)), (members[a], members[b]))
            for a, b in pairs(folds)
        ]
        return _Rows(parts, others, [], members, images["group_id"].nunique())
    chosen: dict[str, Index] = {}
    train, val = (draw_order(data.images, part, cell.draw) for part in ("train", "val"))
    size = len(train.groups) if cell.size is None else cell.size
    chosen["train"] = drawn_rows(images, train.groups[:size], "train")
    count = validation_size(train, val, size)
    chosen["val"] = drawn_rows(images, val.groups[:count], "val")
    both = np.concatenate([chosen["train"], chosen["val"]])
    final = both if FAMILIES[cell.head].refits else chosen["train"]
    test = np.flatnonzero((images["split"] == "test").to_numpy(dtype=bool))
    part = Part(chosen["train"], (chosen["val"],))
    return _Rows([part], [final], [chosen["train"]], [test, chosen["val"]], size)


def _score_missing(
    workspace: Workspace, data: _Data, cells: Sequence[Cell], rows: Sequence[_Rows]
) -> None:
    """Score new candidates of all cells together."""
    known = [read_scores(workspace, cell) for cell in cells]
    new = [missing(cell, scores) for cell, scores in zip(cells, known, strict=True)]
    # Cells that lack the same candidates (all of them, as a rule) go side by side.
    kinds = dict.fromkeys(tuple(text_of(one) for one in lacking) for lacking in new if lacking)
    for kind in kinds:
        mine = [i for i, lacking in enumerate(new) if tuple(map(text_of, lacking)) == kind]
        family, lacking = FAMILIES[cells[0].head], new[mine[0]]
        parts = [part for i in mine for part in rows[i].parts]
        tables = family.score(data.pool, parts, lacking, cells[0].same, cells[0].seed)
        names = np.array([text_of(one) for one in lacking], dtype=object)
        each = len(rows[mine[0]].parts)
        for place, i in enumerate(mine):
            own = tables[place * each : (place + 1) * each]
            table = pd.concat(
                [one.assign(part=number) for number, one in enumerate(own)], ignore_index=True
            )
            table["candidate"] = names[table["candidate"]]
            table = table[["candidate", "part", "fold", "epoch", *METRICS]]
            before = known[i]
            if before is not None:
                table = pd.concat([before, table], ignore_index=True)
            write_scores(workspace, cells[i], table)


def _fit_selected(
    pool: Pool, cells: Sequence[Cell], rows: Sequence[_Rows], choices: Sequence[list[Choice]]
) -> list[list[Any]]:
    """For every cell its heads: of each fold, or final and before it saw validation."""
    fits: list[Fit] = []
    owner: list[int] = []
    for place, (cell, own, picks) in enumerate(zip(cells, rows, choices, strict=True)):
        training = own.final + (own.before if FAMILIES[cell.head].refits else [])
        # After cross-validation every fold has its own choice; else one serves both fits.
        each = picks if cell.cv else picks * len(training)
        fits += [
            Fit(mine, one.candidate, one.epoch) for mine, one in zip(training, each, strict=True)
        ]
        owner += [place] * len(training)
    fitted = FAMILIES[cells[0].head].fit(pool, fits, cells[0].same, cells[0].seed)
    return [
        [head for head, place in zip(fitted, owner, strict=True) if place == wanted]
        for wanted in range(len(cells))
    ]


def _write(
    workspace: Workspace,
    data: _Data,
    cell: Cell,
    own: _Rows,
    choices: list[Choice],
    heads: list[Any],
    seconds: float,
) -> None:
    meta = _describe(data, cell, own, choices)
    meta["seconds"] = round(seconds, 3)
    if cell.test_dataset:
        _write_other(workspace, data, cell, heads[0], meta)
    path = workspace.predictions(cell.run())
    if path.exists():
        return
    if cell.size is None and cell.cv is None:
        save_head(workspace.model(cell.run()), heads[0], about=meta)
    # Folds answer for what they left out; else the final head for test, the one before for val.
    answers = heads if len(heads) > 1 else heads * 2
    rows = np.concatenate(own.predicted)
    probabilities = np.concatenate(
        [
            head.predict_proba(data.pool.X[mine])
            if len(mine)
            else np.empty((0, len(meta["classes"])))
            for head, mine in zip(answers, own.predicted, strict=True)
        ]
    )
    order = np.argsort(rows, kind="stable")
    table = _predictions(data.embedded.images.iloc[rows[order]], probabilities[order], meta)
    if cell.cv is not None:
        sizes = [len(mine) for mine in own.predicted]
        table["fold"] = np.repeat(np.arange(len(sizes)), sizes)[order]
    write_predictions(path, table, meta)


def _write_other(
    workspace: Workspace, data: _Data, cell: Cell, head: Any, meta: dict[str, Any]
) -> None:
    """Predictions on the images of another data set, none of which the head has seen."""
    assert cell.test_dataset is not None
    path = workspace.predictions(cell.test_run())
    if path.exists():
        return
    manifest = read_manifest(workspace.manifest(cell.test_dataset))
    images = pooled_images(manifest, cell.label, least_classes=1)
    store = Store.open(workspace.embeddings(cell.test_dataset, cell.backbone) / cell.store_key)
    other = with_embeddings(images, store, cell.test_dataset, on_missing=cell.on_missing)  # type: ignore[arg-type]
    meta = {
        **meta,
        "run": cell.test_run(),
        "dataset": cell.test_dataset,
        "trained_on": cell.dataset,
        "manifest_digest": cell.test_digest,
    }
    write_predictions(path, _predictions(other.images, head.predict_proba(other.X), meta), meta)


def _predictions(images: pd.DataFrame, probabilities: Any, meta: dict[str, Any]) -> pd.DataFrame:
    table = images[["image_id", "group_id", "split", "label"]].reset_index(drop=True)
    classes = meta["classes"]
    table["prediction"] = np.array(classes, dtype=object)[probabilities.argmax(axis=1)]
    for name, column in zip(classes, probabilities.T, strict=True):
        table[f"prob_{name}"] = column
    return table


def _describe(data: _Data, cell: Cell, own: _Rows, choices: list[Choice]) -> dict[str, Any]:
    """What a predictions file says of how it came about."""
    pool, images = data.pool, data.embedded.images
    counted = own.final[0] if cell.cv is None else np.arange(len(images))
    train = images.iloc[own.parts[0].train] if cell.cv is None else images
    total = images.loc[images["split"] == train["split"].iloc[0], "group_id"].nunique()
    counts = pd.Series(pool.names(own.parts[0].train if cell.cv is None else counted))
    by_class = counts.value_counts()
    chosen = [dict(hyperparameters(cell, choice)) for choice in choices]
    return {
        "run": cell.run(),
        "dataset": cell.dataset,
        "backbone": cell.backbone,
        "weights": data.store.provenance.get("weights_source", "unknown"),
        "embedding_spec": data.store.spec,
        "protocol": "sweep",
        "unfreeze": "none",
        "feature": cell.feature,
        "head": cell.head,
        "hyperparameters": chosen[0] if cell.cv is None else {"folds": chosen},
        "seed": cell.seed,
        "train_fraction": own.groups / total,
        "train_groups": own.groups,
        "draw": None if cell.size is None else cell.draw,
        "cv": None if cell.cv is None else {"folds": cell.cv[0], "repeat": cell.cv[1]},
        "classes": pool.classes,
        "class_counts": {name: int(by_class.get(name, 0)) for name in pool.classes},
        "store_key": cell.store_key,
        "manifest_digest": cell.manifest_digest,
        "candidates": len(cell.candidates),
        "validation": {cell.metric: float(np.mean([choice.score for choice in choices]))},
        "versions": {name: version(name) for name in PACKAGES},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

"""What a head's run leaves: predictions, the head, and how both came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import Store, Workspace, declared_classes, declared_sources, read_manifest
from frostline.cache.versions import versions
from frostline.probe.embedded import Embedded, pooled_images, with_embeddings
from frostline.probe.heads.storage import save_head, save_no_head
from frostline.probe.patients import to_patients
from frostline.probe.sweep.head_run import HeadRun
from frostline.probe.sweep.selection import Choice, hyperparameters
from frostline.probe.sweep.training_rows import TrainingRows
from frostline.report import Predictions, write_predictions
from frostline.report.manuscript.card import write_card
from frostline.report.predictions import in_class_order, predictions_table
from frostline.report.statistics.aggregate import IMAGES


@dataclass(frozen=True)
class Trained:
    """A run whose heads are fitted.

    Attributes
    ----------
    run : HeadRun
    rows : TrainingRows
    choices : list of Choice
        One; of every fold in a cross-validation.
    heads : list of estimator
        As `TrainingRows.fits` has them.
    seconds : float
    """

    run: HeadRun
    rows: TrainingRows
    choices: list[Choice]
    heads: list[Any]
    seconds: float


def write_run(
    workspace: Workspace,
    trained: Trained,
    embedded: Embedded,
    store: Store,
    views: Sequence[Store] = (),
) -> None:
    """Write what is not there of a run: first the head, last the predictions.

    Predictions that exist say that the run is done. `views` are the stores of what it trained on
    besides the images themselves.
    """
    run, rows = trained.run, trained.rows
    order = declared_classes(workspace, run.data.dataset)
    sources = declared_sources(workspace, run.data.dataset)
    meta = _describe(trained, embedded, store) | {"sources": sources} | _describe_views(views)
    if run.test:
        _write_other(workspace, trained, meta, order)
    path = workspace.predictions(run.run())
    if workspace.has_predictions(run.run()):
        return
    saved = run.training.size is None and run.training.cv is None
    if saved:
        about = {**meta, "class_order": order}
        if run.own:
            save_no_head(workspace.model(run.run()), run.own.parameters(), about=about)
        else:
            save_head(workspace.model(run.run()), trained.heads[0], about=about)
    # Folds answer for what they left out; else the final head for test, the one before for val.
    heads = trained.heads if len(trained.heads) > 1 else trained.heads * 2
    tables = [
        _predictions(run, head, embedded.images.iloc[mine], embedded.X[mine], embedded.classes)
        for head, mine in zip(heads, rows.predicted, strict=True)
    ]
    if run.training.cv:
        tables = [table.assign(fold=number) for number, table in enumerate(tables)]
    rank = np.argsort(np.concatenate(rows.predicted), kind="stable")
    table = pd.concat([table for table in tables if len(table)], ignore_index=True)
    table, meta = in_class_order(table.iloc[rank].reset_index(drop=True), meta, order)
    if saved:
        write_card(workspace.model(run.run()), Predictions(table, meta))
    write_predictions(path, table, meta)


def _write_other(
    workspace: Workspace, trained: Trained, meta: dict[str, Any], order: list[str] | None
) -> None:
    """Write predictions on the images of another data set, which the head has never seen."""
    run = trained.run
    assert run.test is not None
    path = workspace.predictions(run.test_run())
    if workspace.has_predictions(run.test_run()):
        return
    name, data = run.test.dataset, run.data
    manifest = read_manifest(workspace.manifest(name))
    images = pooled_images(manifest, data.label, least_classes=1)
    store = Store.open(workspace.embeddings(name, data.backbone) / data.store_key)
    other = with_embeddings(images, store, name, on_missing=data.on_missing)
    if data.pooling is not None:
        other = to_patients(other, data.pooling)
    meta = {
        **meta,
        "run": run.test_run(),
        "dataset": name,
        "trained_on": data.dataset,
        "manifest_digest": run.test.manifest_digest,
        "sources": manifest.sources,
    }
    table = _predictions(run, trained.heads[0], other.images, other.X, meta["classes"])
    write_predictions(path, *in_class_order(table, meta, order))


def _predictions(
    run: HeadRun, head: Any, images: pd.DataFrame, X: Any, classes: list[str]
) -> pd.DataFrame:
    """Answers of a head; of one without probabilities, labels alone."""
    if images.empty:
        table = predictions_table(images, classes, np.empty((0, len(classes))))
    elif run.own is None or run.own.gives_probabilities:
        table = predictions_table(images, classes, head.predict_proba(X))
    else:
        table = images[["image_id", "group_id", "split", "label"]].reset_index(drop=True)
        table = table.assign(prediction=head.predict(X))
    if run.data.pooling is None:
        return table
    return table.assign(**{IMAGES: images[IMAGES].to_numpy()})


def _describe_views(views: Sequence[Store]) -> dict[str, Any]:
    """Say which views a run trained on: how many, their seed, what changed them, their stores."""
    if not views:
        return {}
    how = {name: value for name, value in views[0].spec["view"].items() if name != "number"}
    return {"views": {"count": len(views), **how, "stores": [store.key for store in views]}}


def _describe(trained: Trained, embedded: Embedded, store: Store) -> dict[str, Any]:
    """Say how a run came about: the metadata of its predictions."""
    run, rows, data = trained.run, trained.rows, trained.run.data
    cv, size = run.training.cv, run.training.size
    counted = rows.parts[0].train if cv is None else np.arange(len(embedded.images))
    by_class = pd.Series(embedded.labels(counted)).value_counts()
    chosen = [dict(hyperparameters(run, choice)) for choice in trained.choices]
    scores = [choice.score for choice in trained.choices]
    return {
        "run": run.run(),
        "dataset": data.dataset,
        "backbone": data.backbone,
        "weights": store.provenance.get("weights_source", "unknown"),
        "backbone_origin": store.provenance.get("backbone_origin") or {},
        "embedding_spec": store.spec,
        "protocol": run.protocol,
        "unfreeze": "none",
        "feature": data.feature,
        "head": run.head_words(),
        **run.data.level(),
        "hyperparameters": chosen[0] if cv is None else {"folds": chosen},
        "seed": run.seed,
        "train_fraction": rows.fraction,
        "train_groups": rows.groups,
        "draw": None if size is None else run.training.draw,
        "cv": None if cv is None else {"folds": cv[0], "repeat": cv[1]},
        "classes": embedded.classes,
        "class_counts": {name: int(by_class.get(name, 0)) for name in embedded.classes},
        "store_key": data.store_key,
        "manifest_digest": data.manifest_digest,
        "label": data.label,
        "split": data.split,
        "on_missing": data.on_missing,
        "candidates": len(run.candidates),
        "validation": {run.metric: float(np.mean(scores))},
        "seconds": trained.seconds,
        "embedding_seconds": store.seconds,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

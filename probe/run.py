"""One run: a head chosen and trained on cached embeddings, its predictions written."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import PredefinedSplit

from frostline.cache import InputError, Store, Workspace, choose_store, read_manifest, run_id
from frostline.cache.workspace import file_safe
from frostline.probe.embedded import Embedded, OnMissing, load_embedded
from frostline.probe.heads.adam import AdamProbe
from frostline.probe.heads.knn import DEFAULT_KS, KNNProbe
from frostline.probe.heads.logistic import DEFAULT_CS, LogisticProbe
from frostline.probe.heads.saved import save_head
from frostline.probe.heads.simple import CentroidProbe, MajorityProbe
from frostline.report import write_predictions

HEADS: dict[str, dict[str, Any]] = {
    "logistic": {
        "Cs": [float(C) for C in DEFAULT_CS],
        "scoring": "neg_log_loss",
        "class_weight": None,
        "tol": 1e-4,
        "max_iter": 200,
    },
    "adam": {
        "lr": 1e-4,
        "weight_decay": 0.0,
        "hidden": None,
        "epochs": 100,
        "batch_size": 32,
        "class_weight": None,
    },
    "knn": {
        "ks": list(DEFAULT_KS),
        "temperature": 0.07,
        "scoring": "neg_log_loss",
        "class_weight": None,
    },
    "centroid": {"metric": "euclidean", "temperature": 0.1},
    "majority": {},
}
"""Heads and their hyper-parameters, with the values they have unless given.

`logistic`: strength by log loss on the validation split among `Cs`, of equals the strongest
penalty; then fitted to train and validation. `adam`: the paper's recipe on train, the epoch with
the best accuracy on the validation split, of equals the earliest. `knn`: as `logistic`, the number
of neighbours among `ks`, of equals the largest. `centroid` and `majority` have nothing to choose
and are fitted to train and validation.
"""


def probe_run(
    workspace: Workspace,
    dataset: str,
    backbone: str,
    *,
    head: str = "logistic",
    protocol: str = "paper",
    seed: int = 0,
    key: str | None = None,
    label: str = "label",
    split: str = "split",
    hyperparameters: Mapping[str, Any] | None = None,
    on_missing: OnMissing = "error",
) -> tuple[str, bool]:
    """Train a head on the embeddings of a data set, unless that was done before.

    Predictions are written for every image whose split is val or test, labelled or not, and the
    head to ``models/<run>/``. Those on val come from the head as it was fitted to train alone, so
    that no prediction is of an image that was trained on.

    Parameters
    ----------
    workspace : Workspace
    dataset, backbone : str
        Names as given to `frostline index` and `frostline extract`.
    head : {"logistic", "adam", "knn", "centroid", "majority"}
        See `HEADS`.
    protocol : str
        The recipe that this run belongs to, as the predictions are to say.
    seed : int
        Decides start and order of `adam`.
    key : str, optional
        First digits of the embedding store's key, where there are several stores.
    label, split : str
        Columns of the manifest.
    hyperparameters : mapping, optional
        Instead of those in `HEADS`.
    on_missing : {"error", "skip"}
        What to do about images that the store lacks.

    Returns
    -------
    run : str
        Its predictions are at ``workspace.predictions(run)``.
    new : bool
        Whether it was trained now.

    Raises
    ------
    InputError
        In one sentence, if something is not there or no head can be trained on it.
    """
    settings = resolve_hyperparameters(head, hyperparameters or {})
    manifest = read_manifest(workspace.manifest(dataset))
    store = choose_store(workspace.embeddings(dataset, backbone), key)
    config = {
        "dataset": dataset,
        "backbone": backbone,
        "protocol": protocol,
        "unfreeze": "none",
        "head": head,
        "hyperparameters": settings,
        "seed": seed,
        "label": label,
        "split": split,
        "on_missing": on_missing,
        "store_key": store.key,
        "manifest_digest": manifest.digest(label, split),
    }
    run = run_id(f"{dataset}-{file_safe(backbone)}-{head}-{protocol}-s{seed}", config)
    if workspace.predictions(run).exists():
        return run, False
    start = time.perf_counter()
    embedded = load_embedded(manifest, store, label=label, split=split, on_missing=on_missing)
    fitted = FITS[head](embedded, settings, seed)
    estimator = fitted.final
    table = predict_table(fitted, embedded)
    meta = {
        **_describe(config, store, embedded),
        "hyperparameters": {**settings, **fitted.chosen},
        "candidates": fitted.candidates,
        "validation": fitted.validation,
        "run": run,
        "seconds": round(time.perf_counter() - start, 3),
    }
    save_head(workspace.model(run), estimator, about=meta)
    # Last: predictions that exist say that the run is done.
    write_predictions(workspace.predictions(run), table, meta)
    return run, True


def resolve_hyperparameters(head: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All hyper-parameters of a head, those `given` instead of the defaults."""
    if head not in HEADS:
        raise InputError(f"There is no head {head!r}: choose {' or '.join(HEADS)}.")
    defaults = HEADS[head]
    for name in given:
        if name not in defaults:
            raise InputError(
                f"Head {head!r} has no hyper-parameter {name!r}: it has {', '.join(defaults)}."
            )
    return {**defaults, **given}


@dataclass(frozen=True)
class Fitted:
    """A head after selection.

    Attributes
    ----------
    final, before : estimator
        The head, and as it was before it was fitted to validation images too (the same, where it
        is not).
    chosen : dict
        What was selected.
    candidates : int
        Among how many.
    validation : dict
        The score that decided.
    """

    final: Any
    before: Any
    chosen: dict[str, Any]
    candidates: int
    validation: dict[str, float]


def predict_table(fitted: Fitted, embedded: Embedded) -> pd.DataFrame:
    """Predictions of every image outside train, in the columns of the predictions format."""
    split = embedded.images["split"].to_numpy(dtype=object)
    rows = np.flatnonzero(split != "train")
    columns = ["image_id", "group_id", "split", "label"]
    table = embedded.images.loc[rows, columns].reset_index(drop=True)
    probabilities = np.empty((len(rows), len(embedded.classes)))
    for estimator, mine in (
        (fitted.before, split[rows] == "val"),
        (fitted.final, split[rows] != "val"),
    ):
        if mine.any():
            probabilities[mine] = estimator.predict_proba(embedded.X[rows[mine]])
    table["prediction"] = np.array(embedded.classes, dtype=object)[probabilities.argmax(axis=1)]
    for name, column in zip(embedded.classes, probabilities.T, strict=True):
        table[f"prob_{name}"] = column
    return table


def _fit_logistic(embedded: Embedded, settings: Mapping[str, Any], seed: int) -> Fitted:
    final = LogisticProbe(**settings)
    _fit(final, embedded)
    edges = final.Cs_[[0, -1]]
    if len(final.Cs_) > 1 and final.C_ in edges:
        warnings.warn(
            f"The best strength, C={final.C_:g}, lies at the edge of the grid from {edges[0]:g} to "
            f"{edges[1]:g}: a wider grid may find a better one.",
            stacklevel=3,
        )
    before = _on_train(clone(final).set_params(C=final.C_), embedded)
    score = {settings["scoring"]: float(final.scores_.mean(axis=0).max())}
    return Fitted(final, before, {"C": final.C_}, len(final.Cs_), score)


def _fit_adam(embedded: Embedded, settings: Mapping[str, Any], seed: int) -> Fitted:
    head = AdamProbe(**settings, random_state=seed)
    _fit(head, embedded)
    score = {"accuracy": float(head.validation_accuracy_.max())}
    return Fitted(head, head, {"best_epoch": head.best_epoch_}, 1, score)


def _fit_knn(embedded: Embedded, settings: Mapping[str, Any], seed: int) -> Fitted:
    final = KNNProbe(**settings)
    _fit(final, embedded)
    before = _on_train(clone(final).set_params(n_neighbors=final.k_), embedded)
    score = {settings["scoring"]: float(final.scores_.mean(axis=0).max())}
    return Fitted(final, before, {"n_neighbors": final.k_}, len(final.ks_), score)


def _fit_centroid(embedded: Embedded, settings: Mapping[str, Any], seed: int) -> Fitted:
    return _fit_plain(CentroidProbe(**settings), embedded)


def _fit_majority(embedded: Embedded, settings: Mapping[str, Any], seed: int) -> Fitted:
    return _fit_plain(MajorityProbe(), embedded)


def _fit_plain(head: Any, embedded: Embedded) -> Fitted:
    """A head with nothing to choose."""
    before = _on_train(clone(head), embedded)
    rows = embedded.rows("train", "val")
    head.fit(embedded.X[rows], embedded.labels(rows).astype(str))
    held_out = embedded.rows("val")
    right = before.score(embedded.X[held_out], embedded.labels(held_out).astype(str))
    return Fitted(head, before, {}, 1, {"accuracy": float(right)})


FITS: dict[str, Callable[[Embedded, Mapping[str, Any], int], Fitted]] = {
    "logistic": _fit_logistic,
    "adam": _fit_adam,
    "knn": _fit_knn,
    "centroid": _fit_centroid,
    "majority": _fit_majority,
}


def _on_train(estimator: Any, embedded: Embedded) -> Any:
    train = embedded.rows("train")
    return estimator.fit(embedded.X[train], embedded.labels(train).astype(str))


def _fit(estimator: Any, embedded: Embedded) -> None:
    """Fit on train and validation rows, the latter being the one validation fold."""
    rows = embedded.rows("train", "val")
    is_train = (embedded.images["split"] == "train").to_numpy(dtype=bool)[rows]
    # The fold is of this fit only: an estimator that is kept does not carry it along.
    estimator.set_params(cv=PredefinedSplit(np.where(is_train, -1, 0)))
    estimator.fit(embedded.X[rows], embedded.labels(rows).astype(str))
    estimator.set_params(cv=None)


def _describe(config: Mapping[str, Any], store: Store, embedded: Embedded) -> dict[str, Any]:
    """What a predictions file says of how it came about."""
    packages = ("frostline", "numpy", "scipy", "scikit-learn", "torch")
    return {
        **config,
        "weights": store.provenance.get("weights_source", "unknown"),
        "embedding_spec": store.spec,
        "feature": store.spec.get("feature"),
        "train_fraction": 1.0,
        "classes": embedded.classes,
        "class_counts": embedded.class_counts(),
        "versions": {name: version(name) for name in packages},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }

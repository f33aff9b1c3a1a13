"""A trained run applied to another data set of its workspace: scored there, and never trained."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd

from frostline.apply.load import MODEL, LoadedRun, Weights, load_run
from frostline.apply.predict import padded
from frostline.apply.shared import scored_images
from frostline.cache import (
    InputError,
    Manifest,
    Store,
    Workspace,
    declared_classes,
    part_files,
    read_manifest,
    run_id,
    spec_key,
)
from frostline.cache.versions import numbered, versions
from frostline.probe.choices import OnMissing
from frostline.probe.embedded import with_embeddings
from frostline.probe.patients import check_patients, to_patients
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.predictions import in_class_order, predictions_table
from frostline.report.statistics.aggregate import IMAGES

LONGEST_SLUG = 160  # so that the name of the file is one
# What the metadata of a run say of its training alone.
OF_TRAINING = ("history", "best_epoch", "folds", "validation", "embedding_seconds")


def score_dataset(
    workspace: Workspace,
    run: str,
    dataset: str,
    *,
    label: str = "label",
    own_ids: bool = False,
    device: str = "cpu",
    on_missing: OnMissing = "error",
    weights: str | None = None,
) -> tuple[str, bool]:
    """Predict the images of another data set with a trained run, unless that is done.

    All images with a label are of split `test`, but those that `frostline.apply.shared` leaves out.
    A head on embeddings takes those of the same key, a fine-tuned model pixels of the geometry that
    it was trained on; both must be there.

    Parameters
    ----------
    run : str
        Id of a run whose model was kept.
    label, own_ids
        Column of the other data set's manifest; as of `find_shared`.
    device : str
        Of a fine-tuned model; `weights` is the file of the backbone of adapters, if it had one.
    on_missing : {"error", "skip"}
        What to do about images that the store lacks.

    Returns
    -------
    (str, bool)
        Id of the predictions, and whether they were made now.

    Raises
    ------
    InputError
        If labels are not among the run's classes, nothing is left to score, or a store is gone.
    """
    manifest = read_manifest(workspace.manifest(dataset))
    known = read_predictions(workspace.predictions(run))
    internal = read_manifest(workspace.manifest(str(known.meta["dataset"])))
    digest = pooled_digest(manifest, label)
    config = {"run": run, "test": [dataset, digest], "label": label, "own_ids": own_ids}
    config |= {"on_missing": on_missing}
    name = run_id(f"{dataset}-from-{run}"[:LONGEST_SLUG], numbered("external", config))
    if workspace.has_predictions(name):
        return name, False
    images, shared = scored_images(manifest, internal, label, own_ids=own_ids)
    check_classes(images, known.classes, dataset, run)
    model = workspace.model(run)
    if (model / MODEL).is_file():
        loaded = load_run(workspace, str(model), device=device, weights=Weights(weights))
        table = _by_model(workspace, loaded, dataset, images, on_missing)
    else:
        table = _by_head(workspace, run, dataset, images, on_missing)
    about = {"run": name, "dataset": dataset, "manifest_digest": digest, "label": label}
    meta = _describe(known, about | {"shared": shared, "sources": manifest.sources})
    order = declared_classes(workspace, known.meta["dataset"])
    write_predictions(workspace.predictions(name), *in_class_order(table, meta, order))
    return name, True


def _describe(known: Predictions, about: dict[str, Any]) -> dict[str, Any]:
    """Say how the predictions came about: as the run's own, but for what is of training alone."""
    kept = {key: value for key, value in known.meta.items() if key not in OF_TRAINING}
    return {
        **kept,
        **about,
        "trained_on": known.meta["dataset"],
        "trained_run": known.run,
        "seconds": None,
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def pooled_digest(manifest: Manifest, label: str = "label") -> str:
    """Digest ids, contents, labels and groups, and no splits, which are not looked at."""
    return replace(manifest, table=manifest.table.assign(split="test")).digest(label)


def check_classes(images: pd.DataFrame, classes: list[str], dataset: str, whose: str) -> None:
    """Refuse labels that are not among the classes of training.

    Raises
    ------
    InputError
        Naming them; `whose` says which run or data set has the classes.
    """
    strange = sorted(set(images["label"].dropna()) - set(classes))
    if strange:
        raise InputError(
            f"Data set {dataset!r} has images of {', '.join(map(repr, strange))}, and {whose} has "
            f"the classes {', '.join(classes)}: rename these labels, or leave them out."
        )


def _by_head(
    workspace: Workspace,
    run: str,
    dataset: str,
    images: pd.DataFrame,
    on_missing: OnMissing,
) -> pd.DataFrame:
    """Predict by a head on cached embeddings; it computes on the CPU."""
    # Here, and not above: it takes scikit-learn, which finished work should not.
    from frostline.probe.heads.storage import read_head

    head, about = read_head(workspace.model(run))
    store = _store(workspace.embeddings(dataset, about["backbone"]) / about["store_key"])
    embedded = with_embeddings(images, store, dataset, on_missing=on_missing)
    if pool := about.get("pool"):
        check_patients(embedded.images, dataset)
        embedded = to_patients(embedded, pool)
    table = predictions_table(embedded.images, about["classes"], head.predict_proba(embedded.X))
    return table.assign(**{IMAGES: embedded.images[IMAGES].to_numpy()}) if pool else table


def _by_model(
    workspace: Workspace,
    loaded: LoadedRun,
    dataset: str,
    images: pd.DataFrame,
    on_missing: OnMissing,
) -> pd.DataFrame:
    """Predict by a fine-tuned model, in the batches in which it was tested."""
    from frostline.finetune.inputs.data import with_pixels

    store = _store(workspace.pixels(dataset) / spec_key(loaded.about["pixels"]))
    found, rows = with_pixels(images, store, dataset, on_missing=on_missing)
    parts = []
    for start in range(0, len(rows), loaded.batch):
        pixels = store.read(rows[start : start + loaded.batch])
        parts.append(loaded.probabilities(padded(pixels, loaded.batch))[: len(pixels)])
    return predictions_table(found, loaded.classes, np.concatenate(parts))


def _store(folder: Any) -> Store:
    if not part_files(folder):
        raise InputError(f"The store {folder} is gone: run the study again.")
    return Store.open(folder)

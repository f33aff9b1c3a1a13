"""Repeated cross-validation of a training: each fold is a run of its own, each repeat one file."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache import InputError, Manifest, Store, Workspace, read_manifest
from frostline.cache.stamped import is_whole_parquet
from frostline.cache.versions import versions
from frostline.extract.backbones.backbone import Backbone
from frostline.extract.forward import device_name
from frostline.finetune.folds import Fold, make_folds, parse_folds
from frostline.finetune.inputs.data import load_data, with_pixels
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import barrier, rank
from frostline.finetune.run import (
    chosen,
    describe,
    described_sources,
    fit,
    predict_parts,
    watched,
)
from frostline.finetune.task import Execution, Task
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.unfreeze import check_unfreeze, unfreeze
from frostline.probe.embedded import pooled_images
from frostline.probe.heads.scoring import score_heads, scored_groups
from frostline.report import Predictions, read_predictions, write_predictions
from frostline.report.predictions import in_class_order


@dataclass(frozen=True)
class _Source:
    """What every fold is trained on: the data set, its labelled images with pixels, and those."""

    manifest: Manifest
    images: pd.DataFrame
    missing: int
    store: Store
    load: Callable[[], Backbone]


def finetune_folds(
    workspace: Workspace,
    cv: str,
    task: Task,
    open_pixels: Callable[[], Store],
    load: Callable[[], Backbone],
    execution: Execution | None = None,
) -> list[tuple[str, bool]]:
    """Train on folds of groups instead of the data set's splits; keep out-of-fold predictions.

    Every repeat is a run. Repeats and folds that are done are skipped, and the fold that was
    stopped goes on after its last whole epoch. No model is kept.

    Parameters
    ----------
    cv : str
        `KxR`: K folds, repeated R times.
    task : Task
        Its `cv` becomes that of each repeat; from its `seed` those of the folds are derived.
    open_pixels, load, execution
        As of `finetune_run`; a backbone is loaded for each fold.

    Returns
    -------
    list of (str, bool)
        Of each repeat, in their order: the run's id, and whether anything was done now.

    Raises
    ------
    InputError
        As of `finetune_run`; or if there can be no such folds.
    """
    count, repeats = parse_folds(cv)
    if task.split != "split":
        raise InputError(
            "--split does not go with --cv, whose folds are all the images with a label: leave one "
            "of them out."
        )
    manifest, how = read_manifest(workspace.manifest(task.dataset)), execution or Execution()
    tasks = [replace(task, cv=(count, repeat)) for repeat in range(repeats)]
    runs = [one.run_id(manifest) for one in tasks]
    if all(map(workspace.has_predictions, runs)):
        return [(run, False) for run in runs]
    check_unfreeze(task.unfreeze)
    images = pooled_images(manifest, task.label)
    for one in tasks:
        _folds(one, images, manifest)
    unfreeze(Classifier(load(), 2, task.seed), task.unfreeze, task.recipe, task.seed)
    # What cannot be was said before anything is computed.
    store = open_pixels()
    found, _ = with_pixels(images, store, task.dataset, on_missing=task.on_missing)
    source = _Source(manifest, found, len(images) - len(found), store, load)
    return [_train_repeat(workspace, one, source, how) for one in tasks]


def _folds(task: Task, images: pd.DataFrame, manifest: Manifest) -> list[Fold]:
    assert task.cv is not None
    return make_folds(images, manifest, task.cv, task.seed)


def _train_repeat(
    workspace: Workspace, task: Task, source: _Source, how: Execution
) -> tuple[str, bool]:
    """Train the folds of a repeat that are not done, and write the predictions of all."""
    run = task.run_id(source.manifest)
    if workspace.has_predictions(run):
        return run, False
    checkpoints, first = Checkpoints(workspace.model(run) / "checkpoints"), rank() == 0
    with checkpoints.lock() if first else nullcontext():
        barrier()
        folds = _folds(task, source.images, source.manifest)
        paths = [
            _train_fold(workspace, task, fold, source, how, checkpoints, run) for fold in folds
        ]
        if first:
            parts = [read_predictions(path) for path in paths]
            table, meta = _pool(parts, source.images, task)
            meta |= {"run": run, "manifest_digest": source.manifest.digest(task.label)}
            meta |= described_sources(workspace, task, source.manifest)
            meta |= {"images_without_pixels": source.missing, "device": device_name(how.device)}
            # Last: this file is what says that the repeat is done.
            ordered = in_class_order(table, meta, source.manifest.classes)
            write_predictions(workspace.predictions(run), *ordered)
            checkpoints.clear()
        barrier()
    return run, True


def _train_fold(
    workspace: Workspace,
    task: Task,
    fold: Fold,
    source: _Source,
    how: Execution,
    checkpoints: Checkpoints,
    repeat: str,
) -> Path:
    """Train one fold of a repeat, unless that is done; give the file with its predictions."""
    assert task.cv is not None
    name = f"Repeat {task.cv[1] + 1}, fold {fold.number + 1} of {task.cv[0]}"
    task = replace(task, seed=fold.seed, label="label", split="split", cv=None)
    run = task.run_id(fold.manifest)
    # Named by its run: had an image come or gone, what is there would be of another fold.
    mine = checkpoints.folder / f"fold-{fold.number}-{run[-10:]}"
    path = mine.with_name(f"{mine.name}.parquet")
    if is_whole_parquet(path):
        return path
    if how.said is not None and rank() == 0:
        how.said(f"{name}.")
    data, _ = load_data(fold.manifest, source.store, scored=source.images)
    model = Classifier(source.load(), len(data.classes), task.seed)
    blocks, first = unfreeze(model, task.unfreeze, task.recipe, task.seed), rank() == 0
    folder = checkpoints.folder.parent / f"fold-{fold.number}"
    watch = watched(folder, how.on_rows, repeat, chosen(task), fold=fold.number) if first else None
    # What is said of frozen blocks is the same of every fold.
    how = how if fold.number == 0 else replace(how, said=None)
    own = Checkpoints(mine)
    fitted = fit(workspace, task, fold.manifest, data, model, blocks, how, own, watch)
    table = predict_parts(model, data, fitted)
    if first:
        meta = describe(task, data, fitted, model) | {"run": run}
        write_predictions(path, table, meta | {"manifest_digest": fold.manifest.digest()})
        own.clear()
    barrier()
    return path


def _pool(
    parts: Sequence[Predictions], images: pd.DataFrame, task: Task
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Put the held-out images of all folds together, in the order of the data set."""
    assert task.cv is not None
    held_out = [
        part.table[part.table["split"] == "test"].assign(fold=number)
        for number, part in enumerate(parts)
    ]
    table = pd.concat(held_out).set_index("image_id").loc[images["image_id"]].reset_index()
    folds = [_describe_fold(part, images) for part in parts]
    by_class, classes = images["label"].value_counts(), parts[0].classes
    shared = {name: value for name, value in parts[0].meta.items() if name not in OF_A_FOLD}
    return table, shared | {
        "hyperparameters": {"folds": [part.meta["hyperparameters"] for part in parts]},
        "seed": task.cv[1],  # the repeat of a cross-validation is its seed, as of heads
        "training_seed": task.seed,
        "cv": {"folds": task.cv[0], "repeat": task.cv[1]},
        "draw": None,
        "label": task.label,
        "split": task.split,
        "train_groups": int(images["group_id"].nunique()),
        "class_counts": {name: int(by_class[name]) for name in classes},
        "validation": {task.recipe.select: float(np.mean([one["score"] for one in folds]))},
        "folds": folds,
        "seconds": sum(part.meta["seconds"] for part in parts),
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


# Of the metadata of a fold's predictions, what stands in `folds` or is of the file alone.
OF_A_FOLD = ("history", "best_epoch", "format", "format_version", "content_digest")


def _describe_fold(part: Predictions, images: pd.DataFrame) -> dict[str, Any]:
    """Say how the training of a fold went; `validation` scores its best weights as heads are."""
    val = part.table[part.table["split"] == "val"]
    seen = images["image_id"].isin(part.table["image_id"])
    probabilities = val[[f"prob_{name}" for name in part.classes]].to_numpy()
    codes = pd.Categorical(val["label"], categories=part.classes).codes.astype(np.int64)
    groups = scored_groups(images)
    if groups is not None:
        groups = pd.Series(groups, images["image_id"])[val["image_id"]].to_numpy()
    scores = score_heads(probabilities[None], codes, groups)
    found = {name: float(value[0]) for name, value in scores.items()}
    best, history = part.meta["best_epoch"], part.meta["history"]
    return {
        "run": part.run,
        "seed": part.meta["seed"],
        "train_groups": int(images.loc[~seen, "group_id"].nunique()),
        "val_groups": int(val["group_id"].nunique()),
        "best_epoch": best,
        "score": float(history[best - 1]["score"]),
        "validation": {name: None if math.isnan(one) else one for name, one in found.items()},
        "history": history,
    }

"""A fine-tuning run: from manifest and pixel store to predictions and a model at rest."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from frostline.cache import Manifest, Store, Workspace, read_manifest
from frostline.cache.versions import versions
from frostline.extract.backbones.backbone import Backbone
from frostline.extract.backbones.origins import known_origin
from frostline.extract.engine import engine_version
from frostline.extract.forward import device_name
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.activations import Images, Kept, keep_activations
from frostline.finetune.inputs.boundary import running_from
from frostline.finetune.inputs.data import Data, load_data
from frostline.finetune.lora import adapter_sentence
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import barrier, rank
from frostline.finetune.saved_model import save_model
from frostline.finetune.task import Execution, OnRows, Task, selection_order
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.epochs import Rows
from frostline.finetune.training.evaluate import predict
from frostline.finetune.training.logs import write_log
from frostline.finetune.training.train import Trained, train
from frostline.finetune.unfreeze import check_unfreeze, unfreeze
from frostline.report import Predictions, write_predictions
from frostline.report.manuscript.card import write_card
from frostline.report.predictions import in_class_order, predictions_table


def finetune_run(
    workspace: Workspace,
    task: Task,
    open_pixels: Callable[[], Store],
    load: Callable[[], Backbone],
    execution: Execution | None = None,
) -> tuple[str, bool]:
    """Train, predict validation and test images with the best weights, and keep both.

    Finished work is skipped without opening pixels or loading weights; interrupted work goes on
    after its last whole epoch. Several processes (`parallel.process_group`) share the work; the
    first writes.

    Parameters
    ----------
    open_pixels, load : callable
        Give the pixel store and the backbone that the task names; called only if they are needed.
    execution : Execution, optional
        By default on the CPU, in silence.

    Returns
    -------
    (str, bool)
        The run's id, and whether anything was done now.

    Raises
    ------
    InputError
        If a split has no images, images lack pixels, the backbone has no such blocks, or the loss
        is not finite; or if it selects by the order of the classes, and that is unknown.
    """
    manifest = read_manifest(workspace.manifest(task.dataset))
    run, how = task.run_id(manifest), execution or Execution()
    if workspace.has_predictions(run):
        return run, False
    check_unfreeze(task.unfreeze)
    folder, first = workspace.model(run), rank() == 0
    watch = watched(folder, how.on_rows, run, known_before(task)) if first else None
    pixels, columns = open_pixels(), (task.label, task.split)
    data, missing = load_data(manifest, pixels, *columns, on_missing=task.on_missing)
    # Before any folder is made: what the network has no blocks for is refused, and leaves nothing.
    model = Classifier(load(), len(data.classes), task.seed)
    blocks = unfreeze(model, task.unfreeze, task.recipe, task.seed)
    checkpoints = Checkpoints(folder / "checkpoints")
    with checkpoints.lock() if first else nullcontext():
        barrier()
        fitted = fit(workspace, task, manifest, data, model, blocks, how, checkpoints, watch)
        table = predict_parts(model, data, fitted)
        if first:
            meta = describe(task, data, fitted, model) | {"device": device_name(how.device)}
            meta |= described_sources(workspace, task, manifest) | {"run": run}
            meta |= {"manifest_digest": manifest.digest(*columns), "images_without_pixels": missing}
            save_model(folder, model, {**meta, "class_order": manifest.classes})
            write_card(folder, Predictions(table, meta))
            # Last: the predictions' file is what says that the run is done.
            ordered = in_class_order(table, meta, manifest.classes)
            write_predictions(workspace.predictions(run), *ordered)
            checkpoints.clear()
        barrier()
    return run, True


class Fitted(NamedTuple):
    """What training leaves besides the model: how it went, what trained, and what was kept."""

    trained: Trained
    blocks: list[str]
    kept: Kept
    conditions: Conditions


def fit(
    workspace: Workspace,
    task: Task,
    manifest: Manifest,
    data: Data,
    model: Classifier,
    blocks: list[str],
    how: Execution,
    checkpoints: Checkpoints,
    watch: Callable[[Rows], None] | None,
) -> Fitted:
    """Train a model in place; where `blocks` alone train, from what the frozen ones give."""
    first = rank() == 0
    conditions = Conditions(
        task.mean, task.std, how.device, task.precision, task.crop, how.compiled
    )
    model.to(how.device).to(memory_format=torch.channels_last)
    images = _images(workspace, task, data, how.device)
    kept = keep_activations(
        how.boundary,
        model,
        blocks,
        images,
        task.recipe,
        conditions,
        how.progress if first else None,
    )
    if how.said is not None and first:
        for sentence in filter(None, (adapter_sentence(model), kept.said)):
            how.said(sentence)
    val = data.parts["val"]
    if how.said is not None and first and val.groups is not None:
        count = int(val.groups.max()) + 1
        how.said(f"Epochs are scored on {count} groups, by the means of their {len(val)} images.")
    fed = {**data.parts, **kept.parts}
    with running_from(model, kept.boundary):
        trained = train(
            model,
            (fed["train"], fed["val"]),
            task.recipe,
            conditions,
            seed=task.seed,
            places=_places(task, manifest, data.classes),
            checkpoints=checkpoints,
            on_epoch=how.on_epoch if first else None,
            on_rows=watch,
            on_images=how.on_images if first else None,
        )
    return Fitted(trained, blocks, kept, conditions)


def _places(task: Task, manifest: Manifest, classes: list[str]) -> list[int] | None:
    """Give the place of each class of training in the order by which the metric selects."""
    order = selection_order(task.recipe, manifest, task.label, task.split)
    if order is None:
        return None
    trained = [name for name in order if name in classes]
    return [trained.index(name) for name in classes]


def _images(workspace: Workspace, task: Task, data: Data, device: str) -> Images:
    common = {
        "pixels": _seen(data.pixel_spec, task.crop),
        "normalisation": {"mean": list(task.mean), "std": list(task.std)},
        "backbone": task.backbone,
        "weights": task.weights,
        "feature": task.feature,
        "compute": task.precision,
    }
    provenance = {
        **versions(),
        "device": device_name(device),
        "engine": engine_version("torch"),
        "weights_source": task.weights_source,
    }
    return Images(
        workspace,
        data.parts,
        common,
        workspace.embeddings(task.dataset, task.backbone),
        workspace.boundaries(task.dataset, task.backbone),
        provenance,
    )


def watched(
    folder: Path, on_rows: OnRows | None, run: str, known: dict[str, Any], **more: Any
) -> Callable[[Rows], None]:
    """Write epochs where they can be watched; `on_rows` has them with `more` in every row."""

    def write(rows: Rows) -> None:
        write_log(folder, rows)
        if on_rows is not None:
            on_rows(run, known, [{**row, **more} for row in rows])

    return write


def predict_parts(model: Classifier, data: Data, fitted: Fitted) -> pd.DataFrame:
    """Predict the validation and the test images: the table of the predictions format."""
    kept, batch = fitted.kept, fitted.trained.batch
    tables = []
    for split in ("val", "test"):
        if not len(data.parts[split]):
            continue
        part = kept.parts.get(split, data.parts[split])
        with running_from(model, kept.boundary if split in kept.parts else None):
            logits = predict(model, part, fitted.conditions, batch)
        probabilities = logits.double().softmax(1).numpy()
        rows = data.images[data.images["split"] == split]
        tables.append(predictions_table(rows, data.classes, probabilities))
    return pd.concat(tables, ignore_index=True)


def describe(task: Task, data: Data, fitted: Fitted, model: Classifier) -> dict[str, Any]:
    """Say how a run came about: the metadata of its predictions, but for its id and manifest."""
    trained = fitted.trained
    return {
        **chosen(task),
        "hyperparameters": {
            **task.recipe.to_dict(task.unfreeze),
            "lr": trained.lr,
            "micro_batch": trained.batch,
            "precision": task.precision,
        },
        "normalisation": {"mean": list(task.mean), "std": list(task.std)},
        "seed": task.seed,
        "train_fraction": 1.0,
        "classes": data.classes,
        "class_counts": data.class_counts(),
        "store_key": task.pixels,
        "pixels": _seen(data.pixel_spec, task.crop),
        "candidates": len(task.recipe.lr),
        "lr_candidates": list(task.recipe.lr),
        "best_epoch": trained.best_epoch,
        "history": trained.history,
        "seconds": sum(epoch["seconds"] for epoch in trained.history),
        "versions": versions(),
        "trained_blocks": fitted.blocks,
        **({"adapters": model.adapters.about()} if model.adapters else {}),
        **fitted.kept.about,
        **({"compiled": True} if fitted.conditions.compiled else {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def chosen(task: Task) -> dict[str, Any]:
    """Say what is trained: the first of the metadata."""
    return {
        "dataset": task.dataset,
        "backbone": task.backbone,
        "weights": task.weights_source,
        "weights_digest": task.weights,
        "protocol": task.protocol,
        "unfreeze": task.depth,
        "feature": task.feature,
        "head": "linear",
    }


def known_before(task: Task) -> dict[str, Any]:
    """Say which of the metadata are known before a training."""
    fields = task.recipe.to_dict(task.unfreeze)
    del fields["micro_batch"]  # memory may decide
    if len(task.recipe.lr) > 1:
        del fields["lr"]  # validation decides
    return {**chosen(task), "seed": task.seed, "hyperparameters": fields}


def described_sources(workspace: Workspace, task: Task, manifest: Manifest) -> dict[str, Any]:
    """Say where weights and images come from: `backbone_origin` and `sources` of the metadata."""
    origin = known_origin(task.backbone, task.weights_source, workspace.root)
    return {"backbone_origin": origin, "sources": manifest.sources}


def _seen(spec: dict[str, Any], crop: int | None) -> dict[str, Any]:
    """Give the spec of what the network sees of images at rest: the centres of larger ones."""
    return spec if crop is None else {**spec, "geometry": {**spec["geometry"], "crop": crop}}

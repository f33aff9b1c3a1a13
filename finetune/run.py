"""A fine-tuning run: from manifest and pixel store to predictions and a model at rest."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from frostline.cache import Manifest, Store, Workspace, read_manifest
from frostline.cache import run_id as make_run_id
from frostline.cache.versions import versions
from frostline.extract.backbones.backbone import Backbone
from frostline.extract.embed import device_name
from frostline.extract.engine import engine_version
from frostline.finetune.conditions import Conditions
from frostline.finetune.inputs.activations import Images, Kept, Progress, keep_activations
from frostline.finetune.inputs.data import Data, load_data
from frostline.finetune.model import Classifier
from frostline.finetune.parallel import barrier, rank
from frostline.finetune.recipe import PAPER, Recipe
from frostline.finetune.saved_model import save_model
from frostline.finetune.training.checkpoint import Checkpoints
from frostline.finetune.training.epochs import Epoch, Rows
from frostline.finetune.training.evaluate import predict
from frostline.finetune.training.logs import TensorBoard, write_log
from frostline.finetune.training.train import Trained, train
from frostline.finetune.unfreeze import unfreeze
from frostline.report import write_predictions


@dataclass(frozen=True)
class Task:
    """Everything, besides the manifest, that decides the numbers of a run.

    Attributes
    ----------
    dataset, backbone : str
    weights : str
        Digest of the backbone's weights.
    weights_source : str
        Where they came from, in words; not part of the run's identity.
    feature : str
        What the head sees of the backbone.
    pixels : str
        Key of the pixel store.
    mean, std : (float, float, float)
        Normalisation of images in 0 to 1.
    unfreeze : str
        "none", "all", or a number of blocks.
    seed : int
    protocol : str
        Name of the recipe's origin, for the tables.
    recipe : Recipe
    precision : str
    label, split : str
        Columns of the manifest.
    crop : int, optional
        Side of what the backbone sees, in pixels, if the pixel store keeps more.
    """

    dataset: str
    backbone: str
    weights: str
    weights_source: str
    feature: str
    pixels: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    unfreeze: str = "all"
    seed: int = 0
    protocol: str = "paper"
    recipe: Recipe = field(default=PAPER)
    precision: str = "float32"
    label: str = "label"
    split: str = "split"
    crop: int | None = None

    def run_id(self, manifest: Manifest) -> str:
        """The run's name: readable, with a digest of all that it depends on."""
        config = asdict(self)
        del config["weights_source"]
        config["manifest"] = manifest.digest(self.label, self.split)
        readable = (self.dataset, self.backbone, self.protocol, "unfreeze", self.unfreeze)
        slug = re.sub(r"[^A-Za-z0-9._]+", "-", "-".join(readable))
        return make_run_id(f"{slug}-seed{self.seed}", config)


def finetune_run(
    workspace: Workspace,
    task: Task,
    open_pixels: Callable[[], Store],
    load: Callable[[], Backbone],
    *,
    device: str = "cpu",
    allow_missing: bool = False,
    compiled: bool = False,
    tensorboard: bool = False,
    boundary: str = "auto",
    on_epoch: Callable[[Epoch], None] | None = None,
    said: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> tuple[str, bool]:
    """Train, predict validation and test images with the best weights, and keep both.

    Finished work is skipped without opening pixels or loading weights; interrupted work goes on
    after its last whole epoch. Several processes (`parallel.process_group`) share the work; the
    first writes.

    Parameters
    ----------
    open_pixels, load : callable
        Give the pixel store and the backbone that the task names; called only if they are needed.
    device : str
        "cpu", "cuda", …
    allow_missing : bool
        Whether to leave out images that the pixel store lacks (those that could not be read).
    compiled : bool
        Whether to train through `torch.compile`.
    tensorboard : bool
        Whether to write epochs for TensorBoard, into `models/<run>/tensorboard`.
    boundary : str
        Whether the output of frozen blocks is computed once and kept: "auto", "on" or "off".
    on_epoch : callable, optional
        Called with each `Epoch`, in the first process.
    said : callable, optional
        Called with a sentence on what is kept, in the first process.
    progress : callable, optional
        Called while it is computed, with how many images are done and how many there are.

    Returns
    -------
    (str, bool)
        The run's id, and whether anything was done now.

    Raises
    ------
    InputError
        If a split has no images, images lack pixels, the backbone has no such blocks, or the loss
        is not finite.
    """
    manifest = read_manifest(workspace.manifest(task.dataset))
    run = task.run_id(manifest)
    if workspace.predictions(run).is_file():
        return run, False
    folder, first = workspace.model(run), rank() == 0
    watch = _watched(folder, tensorboard) if first else None
    data, missing = load_data(
        manifest, open_pixels(), task.label, task.split, allow_missing=allow_missing
    )
    checkpoints = Checkpoints(folder / "checkpoints")
    with checkpoints.lock() if first else nullcontext():
        barrier()
        model = Classifier(load(), len(data.classes), task.seed)
        blocks = unfreeze(model, task.unfreeze)
        conditions = Conditions(task.mean, task.std, device, task.precision, task.crop, compiled)
        model.to(device).to(memory_format=torch.channels_last)
        kept = keep_activations(
            boundary,
            model,
            blocks,
            _images(workspace, task, data, device),
            task.recipe,
            conditions,
            progress if first else None,
        )
        if said is not None and kept.said and first:
            said(kept.said)
        fed = {**data.parts, **kept.parts}
        with model.from_boundary(kept.boundary):
            trained = train(
                model,
                (fed["train"], fed["val"]),
                task.recipe,
                conditions,
                seed=task.seed,
                checkpoints=checkpoints,
                on_epoch=on_epoch if first else None,
                on_rows=watch,
            )
        table = predictions_table(model, data, conditions, trained.batch, kept)
        if first:
            meta = _meta(task, data, trained)
            meta |= {"run": run, "manifest_digest": manifest.digest(task.label, task.split)}
            meta |= {"images_without_pixels": missing, "trained_blocks": blocks}
            meta |= {"device": device_name(device), **kept.about}
            save_model(folder, model, meta)
            # Last: the predictions' file is what says that the run is done.
            write_predictions(workspace.predictions(run), table, meta)
            checkpoints.clear()
        barrier()
    return run, True


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
        data.parts,
        common,
        workspace.embeddings(task.dataset, task.backbone),
        workspace.boundaries(task.dataset, task.backbone),
        provenance,
    )


def _watched(folder: Path, tensorboard: bool) -> Callable[[Rows], None]:
    """Write epochs where they can be watched."""
    board = TensorBoard(folder / "tensorboard") if tensorboard else None

    def write(rows: Rows) -> None:
        write_log(folder, rows)
        if board is not None:
            board.write(rows)

    return write


def predictions_table(
    model: Classifier, data: Data, conditions: Conditions, batch_size: int, kept: Kept
) -> pd.DataFrame:
    """Predict the validation and the test images: the table of the predictions format."""
    tables = []
    for split in ("val", "test"):
        if not len(data.parts[split]):
            continue
        part = kept.parts.get(split, data.parts[split])
        with model.from_boundary(kept.boundary if split in kept.parts else None):
            logits = predict(model, part, conditions, batch_size)
        probabilities = logits.double().softmax(1).numpy()
        rows = data.images[data.images["split"] == split]
        table = rows[["image_id", "group_id", "split", "label"]].reset_index(drop=True)
        table["prediction"] = np.asarray(data.classes, object)[probabilities.argmax(1)]
        for number, name in enumerate(data.classes):
            table[f"prob_{name}"] = probabilities[:, number]
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _meta(task: Task, data: Data, trained: Trained) -> dict[str, Any]:
    return {
        "dataset": task.dataset,
        "backbone": task.backbone,
        "weights": task.weights_source,
        "weights_digest": task.weights,
        "protocol": task.protocol,
        "unfreeze": task.unfreeze,
        "feature": task.feature,
        "head": "linear",
        "hyperparameters": {
            **task.recipe.to_dict(),
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
        "candidates": len(task.recipe.rates),
        "lr_candidates": list(task.recipe.rates),
        "best_epoch": trained.best_epoch,
        "history": trained.history,
        "seconds": sum(epoch["seconds"] for epoch in trained.history),
        "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _seen(spec: dict[str, Any], crop: int | None) -> dict[str, Any]:
    """The spec of what the network sees of images at rest: their centres, where they are larger."""
    return spec if crop is None else {**spec, "geometry": {**spec["geometry"], "crop": crop}}

"""Estimates of time, disk and memory for every step of a plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError, Workspace, read_manifest
from frostline.cache.locks import own_cores
from frostline.cache.manifest import SPLITS
from frostline.finetune.folds import parse_folds, validation_share
from frostline.probe.embedded import pooled_images
from frostline.probe.heads.registry import HEADS
from frostline.probe.sweep.planning import training_counts
from frostline.study.costs.heads import row_seconds
from frostline.study.costs.measure import Cost, measure_backbone, measure_decoding
from frostline.study.file import Study
from frostline.study.plan import EXTERNAL, STORES, TRAINED, Plan, Step, split_name
from frostline.study.steps import is_done, lacking_rows, of_views, study_heads, study_sweep

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """What a step is expected to take.

    Attributes
    ----------
    seconds : float
    disk, memory : int
        Bytes that stay; bytes of a GPU (0 where none is needed or nothing tells).
    """

    seconds: float
    disk: int
    memory: int


NOTHING = Estimate(0.0, 0, 0)


def estimate_plan(workspace: Workspace, study: Study, plan: Plan) -> pd.DataFrame:
    """Tabulate the steps of a plan with what each takes, and the runs that cannot start.

    Returns
    -------
    DataFrame
        `dataset`, `backbone` ("" for pixels), `step` (the protocol of a run, the name of a sweep),
        `kind` as of `Step`, `state` (done, missing or cannot start), `images` that a store lacks,
        `sentence` that says why a step cannot start, `seconds`, `disk` and `memory` (bytes), 0 for
        steps that are done.
    """
    import pandas as pd

    device, precision = study.machine().resolve()
    rows: list[dict[str, Any]] = []
    for step in plan.steps:
        row = {**_place(step), "state": "done", "images": 0, "sentence": ""}
        found = NOTHING
        if not is_done(workspace, step):
            try:
                found = _estimate(workspace, study, step, device, precision)
                row["state"] = "missing"
                row["images"] = lacking_rows(workspace, step) if step.kind in STORES else 0
            except InputError as error:
                row |= {"state": "cannot start", "sentence": str(error)}
        rows.append({**row, **vars(found)})
    for name, sentence in plan.failed.items():
        place = dict(zip(("dataset", "backbone", "step"), split_name(name), strict=True))
        row = {**place, "kind": "", "state": "cannot start", "images": 0, "sentence": sentence}
        rows.append({**row, **vars(NOTHING)})
    return pd.DataFrame(rows)


def _place(step: Step) -> dict[str, str]:
    cell = step.cell
    runs = (*TRAINED, EXTERNAL)
    what = step.sweep[0] if step.sweep else cell.step if step.kind in runs else step.kind
    backbone = "" if step.kind == "pixels" else cell.backbone.name
    dataset = cell.place if step.kind == EXTERNAL else cell.dataset
    return {"dataset": dataset, "backbone": backbone, "step": what, "kind": step.kind}


def _estimate(
    workspace: Workspace, study: Study, step: Step, device: str, precision: str
) -> Estimate:
    """Estimate a step that is still to be done."""
    if step.kind == "pixels":
        return _pixels(workspace, step)
    if step.kind == EXTERNAL and step.cell.entry.unfreeze == "none":
        return NOTHING  # a head answers in no time
    crop = step.inputs.get("crop") or step.inputs["pixels"]["geometry"]["crop"]
    batch = _training_batch(step) if step.kind == "finetune" else study.machine().batch_on(device)
    embeds = step.kind in ("embeddings", "views")
    engine = study.engine if embeds else "torch"
    cost = measure_backbone(workspace, step.cell, crop, device, precision, batch, engine)
    if embeds:
        lacking = lacking_rows(workspace, step)
        views = step.inputs["views"]["count"] if step.kind == "views" else 1
        # One pass for all features; those of blocks are about as long as the backbone's own.
        size = lacking * views * cost.dim * 4 * len(step.features())
        seconds = lacking * views * cost.embedding_seconds
        if not study.keep_pixels:  # no step before it has decoded them
            seconds += lacking * measure_decoding(workspace, step) / own_cores()
        return Estimate(seconds, size, cost.memory)
    if step.kind == EXTERNAL:
        images = len(read_manifest(workspace.manifest(step.cell.dataset)))
        return Estimate(images * cost.embedding_seconds, 0, cost.memory)
    if step.kind == "finetune":
        return _finetune(workspace, study, step, cost)
    return _heads(workspace, study, step, cost)


def _pixels(workspace: Workspace, step: Step) -> Estimate:
    lacking = lacking_rows(workspace, step)
    channels = 1 if step.inputs["pixels"]["channels"] == "grey" else 3
    bytes_each = prod([step.inputs["pixels"]["geometry"]["crop"]] * 2) * channels
    seconds = lacking * measure_decoding(workspace, step) / own_cores()
    return Estimate(seconds, lacking * bytes_each, 0)


def _finetune(workspace: Workspace, study: Study, step: Step, cost: Cost) -> Estimate:
    """Estimate training: epochs go over train and val, the best one predicts val and test once."""
    recipe, cv = step.inputs["recipe"], step.inputs.get("cv")
    trials = len(recipe["lr"]) if isinstance(recipe["lr"], list) else 1
    times, (train, val, test) = _trained_images(workspace, study, step.cell.dataset, cv)
    epoch = train * cost.training_seconds + val * cost.embedding_seconds
    seconds = trials * recipe["epochs"] * epoch + (val + test) * cost.embedding_seconds
    memory = cost.training_bytes(_training_batch(step))
    return Estimate(times * seconds, 4 * cost.parameters, memory)


def _training_batch(step: Step) -> int:
    """Give the images that a training computes at a time."""
    recipe = step.inputs["recipe"]
    micro = recipe["micro_batch"]
    return int(micro if isinstance(micro, int) and micro else recipe["batch_size"])


def _trained_images(
    workspace: Workspace, study: Study, dataset: str, cv: str | None
) -> tuple[int, tuple[float, float, float]]:
    """Count the trainings of a run, one a fold, and the images of each: train, val and test."""
    manifest, columns = read_manifest(workspace.manifest(dataset)), study.datasets[dataset]
    if cv is None:
        images = manifest.images(columns.label, columns.split)
        # What has no label is predicted, and trains nothing.
        used = images[images["label"].notna() | (images["split"] != "train")]
        train, val, test = (float((used["split"] == name).sum()) for name in SPLITS)
        return 1, (train, val, test)
    folds, repeats = parse_folds(cv)
    held_out = len(pooled_images(manifest, columns.label)) / folds
    rest, share = (folds - 1) * held_out, validation_share(manifest)
    return folds * repeats, ((1 - share) * rest, share * rest, held_out)


def _heads(workspace: Workspace, study: Study, step: Step, cost: Cost) -> Estimate:
    """Estimate all heads of a step: of a run, of a sweep, or of a run at every depth.

    At every depth they are taken to be as long as those on the backbone's own feature.
    """
    cell, manifest = step.cell, read_manifest(workspace.manifest(step.cell.dataset))
    if step.sweep is not None:
        sweep = study_sweep(study, step, step.sweep[0])
    else:
        seeds = step.inputs.get("seeds", [cell.seed])
        heads = study_heads(study, cell, step.inputs.get("cv"))
        heads = replace(heads, seeds=seeds, rows={**heads.rows, **of_views(step)})
        sweep = heads.sweep(cell.dataset, cell.backbone.name)
    classes = manifest.images(sweep.label)["label"].nunique()
    seconds, count = 0.0, 0
    for head, grid in sweep.heads.items():
        scored, fitted = training_counts(manifest, sweep, head)
        # The repeats of a cross-validation stand for seeds.
        seeded = 1 if sweep.cv else len(HEADS[head].seeds(sweep.seeds))
        each = row_seconds(workspace, head, grid, cost.dim, classes)
        seconds += seeded * (each[0] * sum(scored) + each[1] * sum(fitted))
        count += seeded * len(scored)
    depths = len(step.features()) if step.kind == "read" else 1
    return Estimate(depths * seconds, depths * count * 8 * cost.dim * classes, 0)

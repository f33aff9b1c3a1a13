"""Estimates of time, disk and memory for every step of a plan."""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from frostline.cache import InputError, Manifest, Workspace, read_manifest
from frostline.depth.reading import Heads
from frostline.probe.heads.registry import HEADS
from frostline.probe.sweep.planning import training_shares
from frostline.probe.sweep.settings import Sweep
from frostline.study.costs.heads import probe_seconds, row_seconds
from frostline.study.costs.measure import Cost, measure_backbone, measure_decoding
from frostline.study.file import Study
from frostline.study.plan import STORES, TRAINED, Plan, Step, split_name
from frostline.study.steps import is_done, lacking_rows

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
                found, row["state"] = _estimate(workspace, step, device, precision), "missing"
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
    what = step.sweep[0] if step.sweep else cell.step if step.kind in TRAINED else step.kind
    backbone = "" if step.kind == "pixels" else cell.backbone.name
    return {"dataset": cell.dataset, "backbone": backbone, "step": what, "kind": step.kind}


def _estimate(workspace: Workspace, step: Step, device: str, precision: str) -> Estimate:
    """Estimate a step that is still to be done."""
    if step.kind == "pixels":
        return _pixels(workspace, step)
    crop = step.inputs.get("crop") or step.inputs["pixels"]["geometry"]["crop"]
    cost = measure_backbone(workspace, step.cell, crop, device, precision)
    if step.kind == "embeddings":
        lacking = lacking_rows(workspace, step)
        # One pass for all features; those of blocks are about as long as the backbone's own.
        size = lacking * cost.dim * 4 * len(step.features())
        return Estimate(lacking * cost.embedding_seconds, size, cost.memory)
    if step.kind == "finetune":
        return _finetune(step, cost, _counts(workspace, step))
    return _heads(workspace, step, cost)


def _pixels(workspace: Workspace, step: Step) -> Estimate:
    lacking = lacking_rows(workspace, step)
    channels = 1 if step.inputs["pixels"]["channels"] == "grey" else 3
    bytes_each = prod([step.inputs["pixels"]["geometry"]["crop"]] * 2) * channels
    seconds = lacking * measure_decoding(workspace, step) / (os.cpu_count() or 1)
    return Estimate(seconds, lacking * bytes_each, 0)


def _counts(workspace: Workspace, step: Step) -> dict[str, int]:
    table = read_manifest(workspace.manifest(step.cell.dataset)).table
    return {str(name): int(n) for name, n in table["split"].value_counts().items()}


def _finetune(step: Step, cost: Cost, counts: dict[str, int]) -> Estimate:
    """Estimate training: epochs go over train and val, the best one predicts val and test once."""
    recipe = step.inputs["recipe"]
    trials = len(recipe["lr"]) if isinstance(recipe["lr"], list) else 1
    train, val, test = (counts.get(name, 0) for name in ("train", "val", "test"))
    epoch = train * cost.training_seconds + val * cost.embedding_seconds
    seconds = trials * recipe["epochs"] * epoch + (val + test) * cost.embedding_seconds
    micro = recipe["micro_batch"]
    batch = micro if isinstance(micro, int) and micro else recipe["batch_size"]
    return Estimate(seconds, 4 * cost.parameters, cost.training_bytes(batch))


def _reading(workspace: Workspace, step: Step, cost: Cost, manifest: Manifest) -> Estimate:
    """Estimate a head at every depth, each taken to be as long as the backbone's own feature."""
    inputs, cell = step.inputs, step.cell
    heads = Heads(inputs["head"], seeds=inputs["seeds"], cv=inputs.get("cv"))
    one = _swept(workspace, manifest, heads.sweep(cell.dataset, cell.backbone.name), cost)
    depths = len(step.features())
    return Estimate(depths * one.seconds, depths * one.disk, 0)


def _heads(workspace: Workspace, step: Step, cost: Cost) -> Estimate:
    """Estimate a run's head on one training set, or a sweep's heads on each of many."""
    manifest = read_manifest(workspace.manifest(step.cell.dataset))
    classes = manifest.table["label"].nunique()
    if classes < 2:
        raise InputError(
            f"Data set {step.cell.dataset!r} has {classes} class{'' if classes == 1 else 'es'}: a "
            "head needs two or more."
        )
    if step.kind == "read":
        return _reading(workspace, step, cost, manifest)
    rows = int((manifest.table["split"] == "train").sum())
    if step.sweep is None:
        head, settings = step.inputs["head"], dict(step.inputs["settings"])
        seconds = probe_seconds(workspace, head, settings, cost.dim, classes, rows)
        return Estimate(seconds, 8 * cost.dim * classes, 0)
    name, entry = step.sweep
    sweep = entry.sweep(name, step.cell.dataset, step.cell.backbone.name)
    return _swept(workspace, manifest, sweep, cost)


def _swept(workspace: Workspace, manifest: Manifest, sweep: Sweep, cost: Cost) -> Estimate:
    """Estimate the heads of a sweep over one store."""
    classes = manifest.table["label"].nunique()
    rows = int((manifest.table["split"] == "train").sum())
    shares, seconds, heads = training_shares(manifest, sweep), 0.0, 0
    for head, grid in sweep.heads.items():
        seeds = len(HEADS[head].seeds(sweep.seeds))
        each = row_seconds(workspace, head, grid, cost.dim, classes)
        seconds += seeds * each * rows * sum(shares)
        heads += seeds * len(shares)
    return Estimate(seconds, heads * 8 * cost.dim * classes, 0)

"""The steps of a study: how each kind is done, and whether it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline import stages as steps
from frostline.cache import Store, Workspace, part_files, read_manifest, spec_key
from frostline.cache.tables.words import counted
from frostline.cache.versions import numbered
from frostline.console import progress, say, say_epoch
from frostline.study.file import Study
from frostline.study.plan import STORES, Step
from frostline.study.records import record_done


def is_done(workspace: Workspace, step: Step) -> bool:
    """Tell whether a store has all its rows, or a run its predictions."""
    record = record_done(workspace, step.key)
    if step.kind not in STORES:
        return record is not None
    # Nobody waits for rows that an earlier runner skipped because their images cannot be read.
    return lacking_rows(workspace, step) <= len((record or {}).get("skipped", []))


def lacking_rows(workspace: Workspace, step: Step) -> int:
    """Count the distinct images of the data set that the store of a step lacks."""
    from frostline.cache.manifest import as_keys
    from frostline.extract.pixels import distinct_images

    images = distinct_images(read_manifest(workspace.manifest(step.cell.dataset)))
    folder = store_folder(workspace, step)
    if not part_files(folder) or images.empty:
        return len(images)
    return int((Store.open(folder).locate(as_keys(images["content_key"])) < 0).sum())


def store_folder(workspace: Workspace, step: Step) -> Path:
    """Give the folder of the store of a step."""
    if step.kind == "pixels":
        return workspace.pixels(step.cell.dataset) / spec_key(step.inputs["pixels"])
    return workspace.embeddings(step.cell.dataset, step.cell.backbone.name) / embedding_key(step)


def embedding_key(step: Step) -> str:
    """Compute the key of the embedding store that a step fills or takes."""
    names = ("pixels", "normalisation", "backbone", "weights", "feature", "compute")
    spec = {**{name: step.inputs[name] for name in names}, "storage": "float32"}
    head = step.inputs["classifier"]
    return spec_key(numbered("embeddings", {**spec, **({"head": head} if head else {})}))


def _pixels(
    workspace: Workspace, study: Study, machine: steps.Machine, step: Step
) -> dict[str, Any]:
    from frostline.extract.pixels import fill_pixels

    manifest = read_manifest(workspace.manifest(step.cell.dataset))
    inputs = step.cell.network().inputs(manifest)
    # Recipes that crop by chance keep more than the network sees.
    crop = step.inputs["pixels"]["geometry"]["crop"]
    kept = replace(inputs, geometry=replace(inputs.geometry, crop=crop))
    source = machine.source(workspace, manifest, kept)
    with progress(f"Decoding {step.name}") as update:
        fill_pixels(source, update)
    say(f"{step.name}: {counted(source.decoded, 'image')} decoded now.")
    return {"decoded": source.decoded, "skipped": source.skipped}


def _embeddings(
    workspace: Workspace, study: Study, machine: steps.Machine, step: Step
) -> dict[str, Any]:
    with progress(f"Embedding {step.name}") as update:
        done = steps.extract(
            workspace, step.cell.dataset, step.cell.network(), machine=machine, progress=update
        )
    say(f"{step.name}: {counted(done.embedded, 'image')} embedded now.")
    for sentence in done.skipped:
        say(f"Skipped: {sentence}")
    return {"store": done.key, "embedded": done.embedded, "skipped": done.skipped}


def _probe(
    workspace: Workspace, study: Study, machine: steps.Machine, step: Step
) -> dict[str, Any]:
    from frostline.probe.run import Source, probe_head

    cell = step.cell
    run, new = probe_head(
        workspace,
        cell.dataset,
        cell.backbone.name,
        head=step.inputs["head"],
        hyperparameters=step.inputs["settings"],
        seed=cell.seed,
        protocol=cell.entry.recipe,
        source=Source(
            key=embedding_key(step), on_missing="skip" if study.on_error == "skip" else "error"
        ),
    )
    return _trained(workspace, step, run, new)


def _finetune(
    workspace: Workspace, study: Study, machine: steps.Machine, step: Step
) -> dict[str, Any]:
    cell = step.cell
    with progress(f"Decoding: {step.name}") as update:
        run, new = steps.finetune(
            workspace,
            cell.dataset,
            cell.network(),
            unfreeze=str(cell.entry.unfreeze),
            machine=machine,
            seed=cell.seed,
            changes=cell.entry.changes(),
            on_epoch=say_epoch,
            progress=update,
        )
    return _trained(workspace, step, run, new)


def _trained(workspace: Workspace, step: Step, run: str, new: bool) -> dict[str, Any]:
    say(f"{step.name}: {'trained' if new else 'done before'}.")
    return {"run": run, "predictions": [workspace.predictions(run).name]}


def _sweep(
    workspace: Workspace, study: Study, machine: steps.Machine, step: Step
) -> dict[str, Any]:
    from frostline.probe.sweep.run import run_sweep

    assert step.sweep is not None
    name, entry = step.sweep
    title = f"{study.name}-{name}-{step.key[:10]}"
    cell = step.cell
    sweep = entry.sweep(
        title, cell.dataset, cell.backbone.name, embedding_key(step), cell.entry.recipe
    )
    with progress(f"Sweep {step.name}", "heads") as update:
        found = run_sweep(workspace, sweep, jobs=1, progress=update, said=say)
    say(f"{step.name}: {len(found.predictions)} heads selected.")
    return {"sweep": title, "predictions": [path.name for path in found.predictions]}


DO: dict[str, Callable[[Workspace, Study, steps.Machine, Step], dict[str, Any]]] = {
    "pixels": _pixels,
    "embeddings": _embeddings,
    "probe": _probe,
    "finetune": _finetune,
    "sweep": _sweep,
}

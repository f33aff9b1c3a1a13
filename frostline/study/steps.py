"""The steps of a study: how each kind is done, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from frostline import stages as steps
from frostline.cache import Store, Workspace, part_files, read_manifest, spec_key
from frostline.cache.tables.unfreezing import is_lora
from frostline.cache.tables.words import counted
from frostline.cache.versions import numbered
from frostline.console import alert, progress, say, say_epoch
from frostline.depth.reading import Heads
from frostline.extract.augmentation.settings import Augmentation
from frostline.extract.augmentation.views import Views
from frostline.probe.sweep.settings import Sweep
from frostline.protocols import missing_images
from frostline.study.external.planning import read_as
from frostline.study.file import Study
from frostline.study.plan import EXTERNAL, STORES, Cell, Step
from frostline.study.records import record_done


def is_done(workspace: Workspace, step: Step) -> bool:
    """Tell whether a store has all its rows, or a run its predictions."""
    record = record_done(workspace, step.key)
    if step.kind not in STORES:
        return record is not None
    # A runner that skips images does not wait for rows that an earlier one skipped.
    return lacking_rows(workspace, step) <= len((record or {}).get("skipped", []))


def lacking_rows(workspace: Workspace, step: Step) -> int:
    """Count the distinct images of the data set that a store of a step lacks; the most of all."""
    from frostline.cache.manifest import IMAGE_COLUMNS, as_keys
    from frostline.extract.pixels import distinct_images

    path = workspace.manifest(step.cell.dataset)
    if step.kind == "views":
        images = steps.viewed_images(read_manifest(path), step_views(step))
    else:
        images = distinct_images(read_manifest(path, IMAGE_COLUMNS))
    if images.empty:
        return 0
    keys = as_keys(images["content_key"])
    return max(_lacking(folder, keys) for folder in _store_folders(workspace, step))


def _lacking(folder: Path, keys: Any) -> int:
    if not part_files(folder):
        return len(keys)
    return int((Store.open(folder).locate(keys) < 0).sum())


def _store_folders(workspace: Workspace, step: Step) -> list[Path]:
    """List the folders of the stores of a step: one, or one of each depth."""
    if step.kind == "pixels":
        return [workspace.pixels(step.cell.dataset) / spec_key(step.inputs["pixels"])]
    place = step.cell.dataset, step.cell.backbone.name
    if step.kind == "views":
        numbers = range(1, step.inputs["views"]["count"] + 1)
        return [workspace.views(*place) / view_key(step, number) for number in numbers]
    stores = workspace.embeddings(*place)
    return [stores / embedding_key(step, feature) for feature in step.features()]


def step_views(step: Step) -> Views:
    """Give the views that a step embeds or trains on."""
    about = {name: value for name, value in step.inputs["views"].items() if name != "pixels"}
    how = [about.pop(name) for name in ("count", "seed", "of", "split")]
    return Views(how[0], Augmentation(**about), *how[1:])


def view_key(step: Step, number: int) -> str:
    """Compute the key of the store of a view."""
    pixels = step.inputs["views"]["pixels"]
    return spec_key(step_views(step).spec(_embedding_spec(step), pixels, number))


def of_views(step: Step) -> dict[str, Any]:
    """Give the keys of a sweep that say which views its heads train on; none where on none."""
    if "views" not in step.inputs:
        return {}
    return {"views": step.inputs["views"]["count"], "views_key": view_key(step, 1)}


def embedding_key(step: Step, feature: str | None = None) -> str:
    """Compute the key of the embedding store that a step fills or takes: its own, or of a depth."""
    return spec_key(_embedding_spec(step, feature))


def _embedding_spec(step: Step, feature: str | None = None) -> dict[str, Any]:
    names = ("pixels", "normalisation", "backbone", "weights", "compute")
    spec = {**{name: step.inputs[name] for name in names}, "storage": "float32"}
    spec["feature"] = step.inputs["feature"] if feature is None else feature
    head = step.inputs["classifier"]
    return numbered("embeddings", {**spec, **({"head": head} if head else {})})


def study_heads(study: Study, cell: Cell, folds: str | None) -> Heads:
    """Give the heads of a run.

    Parameters
    ----------
    folds : str, optional
        `KxR`, instead of the data set's splits.
    """
    return Heads(
        cell.entry.head_name(),
        cell.entry.recipe,
        study.seeds,
        folds,
        study.datasets[cell.dataset].columns(),
        missing_images(study.on_error),
        cell.entry.changes(),
        cell.entry.of_patients(),
    )


def study_sweep(study: Study, step: Step, name: str, key: str | None = None) -> Sweep:
    """Give the sweep of a step, over the embedding store with a key."""
    assert step.sweep is not None
    cell = step.cell
    return step.sweep[1].sweep(
        name,
        cell.dataset,
        cell.backbone.name,
        key=key,
        protocol=cell.entry.recipe,
        on_missing=missing_images(study.on_error),
        **vars(study.datasets[cell.dataset].columns()),
        **of_views(step),
    )


def _pixels(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    from frostline.extract.pixels import fill_pixels

    manifest = read_as(workspace, step.cell)
    inputs = step.cell.network().inputs(workspace, manifest)
    # Recipes that crop by chance keep more than the network sees.
    crop = step.inputs["pixels"]["geometry"]["crop"]
    kept = replace(inputs, geometry=replace(inputs.geometry, crop=crop))
    source = study.machine().source(workspace, manifest, kept)
    with progress("Decoding", of=step.name) as update:
        fill_pixels(source, update)
    say(f"{step.name}: {counted(source.decoded, 'image')} decoded now.")
    return {"decoded": source.decoded, "skipped": source.skipped}


def _embeddings(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    from frostline.cache.manifest import IMAGE_COLUMNS
    from frostline.extract.pixels import distinct_images

    cell = step.cell
    manifest, how = read_as(workspace, cell, IMAGE_COLUMNS), study.machine()
    filler = steps.store_filler(workspace, manifest, cell.network(), step.features(), how)
    with progress("Embedding", of=step.name) as update:
        done = filler.fill(distinct_images(manifest), update)
    # All features come of one pass, and know the same of it.
    last = done[-1]
    say(f"{step.name}: {counted(last.embedded, 'image')} embedded now.")
    for sentence in last.skipped:
        alert(f"Skipped: {sentence}")
    return {"store": last.key, "embedded": last.embedded, "skipped": last.skipped}


def _views(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    """Embed the views of a step, next to the embeddings of the images themselves."""
    cell, views = step.cell, step_views(step)
    manifest = read_as(workspace, cell)
    how = cell.network(), step.features(), study.machine()
    filler = steps.views_filler(workspace, steps.store_filler(workspace, manifest, *how), views)
    with progress("Embedding views of", of=step.name) as update:
        done = filler.fill(steps.viewed_images(manifest, views), update)
    embedded = sum(one.embedded for one in done)
    say(f"{step.name}: {counted(embedded, 'view')} embedded now.")
    return {"stores": [one.key for one in done], "skipped": done[0].skipped}


def _probe(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    from frostline.depth.reading import read_one
    from frostline.probe.run import make_source, probe_head

    cell = step.cell
    if "cv" in step.inputs:
        heads, key = study_heads(study, cell, step.inputs["cv"]), embedding_key(step)
        heads = replace(heads, rows={**heads.rows, **of_views(step)})
        with progress("Training the folds of", "heads", step.name) as update:
            runs = read_one(workspace, cell.dataset, cell.backbone.name, key, heads, update)
        return _cross_validated(workspace, step, runs)
    run, new = probe_head(
        workspace,
        cell.dataset,
        cell.backbone.name,
        head=step.inputs["head"],
        hyperparameters=step.inputs["settings"],
        seed=cell.seed,
        protocol=cell.entry.recipe,
        source=make_source(
            key=embedding_key(step),
            on_missing=missing_images(study.on_error),
            **vars(study.datasets[cell.dataset].columns()),
            **cell.entry.of_patients(),
            **of_views(step),
        ),
    )
    return _trained(workspace, step, run, new)


def _read(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    """Read at every depth; the record lists the runs of each."""
    from frostline.depth.checks import depth_places
    from frostline.depth.reading import read_depths, write_nested

    cell = step.cell
    manifest = read_manifest(workspace.manifest(cell.dataset))
    network = cell.network()
    places = depth_places(network, network.inputs(workspace, manifest))
    heads = study_heads(study, cell, step.inputs.get("cv"))
    stores = [(place, embedding_key(step, name)) for place, name in places if name is not None]
    about = cell.dataset, cell.backbone.name
    with progress("Reading the depths of", "heads", step.name) as update:
        found = read_depths(workspace, *about, stores, heads, study.primary_metric, update)
    for sentence in found.said:
        say(sentence)
    say(f"{step.name}: read at {counted(len(stores), 'depth')}.")
    runs = [run.run for point in found.points for run in point.runs]
    nested = write_nested(workspace, found.nested)
    return {
        "places": [place for place, _ in places],
        "points": [
            [point.place.depth, [run.run for run in point.runs], point.validation]
            for point in found.points
            if point.place is not None
        ],
        "nested": nested,
        "predictions": [workspace.predictions(run).name for run in [*runs, *nested]],
    }


def _finetune(
    workspace: Workspace, study: Study, step: Step, on_rows: Callable[..., None] | None = None
) -> dict[str, Any]:
    from frostline.finetune.task import Execution

    cell = step.cell
    about = workspace, cell.dataset, cell.network()
    with progress("Preparing", of=step.name) as update:
        how: dict[str, Any] = {
            "unfreeze": str(cell.entry.unfreeze),
            "machine": study.machine(),
            "seed": cell.seed,
            "columns": study.datasets[cell.dataset].columns(),
            "changes": cell.entry.changes(),
            "execution": Execution(on_rows=on_rows),
            "on_epoch": say_epoch,
            "progress": update,
        }
        if "cv" in step.inputs:
            found = steps.finetune_folds(*about, step.inputs["cv"], **how)
            return _cross_validated(workspace, step, [run for run, _ in found])
        run, new = steps.finetune(*about, **how)
    return _trained(workspace, step, run, new)


def _external(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    """Score the runs of a step on an external data set: one, or those of every depth."""
    from frostline.apply.dataset import score_dataset

    cell, trained = step.cell, record_done(workspace, step.inputs["run"])
    weights = cell.network().weights
    # Adapters are kept without their backbone.
    file = (
        weights
        if is_lora(cell.entry.unfreeze) and weights not in ("pretrained", "random")
        else None
    )
    assert trained is not None  # a step that is needed is done
    points = trained.get("points", [])
    runs = trained.get("runs", []) or [run for _, names, _ in points for run in names]
    found = [
        score_dataset(
            workspace,
            run,
            cell.dataset,
            label=step.inputs["label"],
            own_ids=step.inputs["ids"] == "own",
            device=study.machine().resolve()[0],
            on_missing=missing_images(study.on_error),
            weights=file,
        )
        for run in runs
    ]
    say(f"{step.name}: {'scored' if any(new for _, new in found) else 'done before'}.")
    made = [run for run, _ in found]
    return {"runs": made, "predictions": [workspace.predictions(run).name for run in made]}


def _cross_validated(workspace: Workspace, step: Step, runs: Sequence[str]) -> dict[str, Any]:
    say(f"{step.name}: {step.inputs['cv']} cross-validation is done.")
    return {"runs": runs, "predictions": [workspace.predictions(run).name for run in runs]}


def _trained(workspace: Workspace, step: Step, run: str, new: bool) -> dict[str, Any]:
    say(f"{step.name}: {'trained' if new else 'done before'}.")
    done = {"runs": [run], "predictions": [workspace.predictions(run).name]}
    # On what another command trained it, nobody wrote down here.
    return done if new else {**done, "hardware": None}


def _sweep(workspace: Workspace, study: Study, step: Step) -> dict[str, Any]:
    from frostline.probe.sweep.run import run_sweep

    assert step.sweep is not None
    title = f"{study.name}-{step.sweep[0]}-{step.key[:10]}"
    sweep = study_sweep(study, step, title, embedding_key(step))
    with progress("Training the heads of", "heads", step.name) as update:
        found = run_sweep(workspace, sweep, jobs=1, progress=update, said=say)
    say(f"{step.name}: {len(found.predictions)} heads selected.")
    return {"sweep": title, "predictions": [path.name for path in found.predictions]}


DO: dict[str, Callable[..., dict[str, Any]]] = {
    "pixels": _pixels,
    "embeddings": _embeddings,
    "views": _views,
    "probe": _probe,
    "read": _read,
    "finetune": _finetune,
    "sweep": _sweep,
    EXTERNAL: _external,
}

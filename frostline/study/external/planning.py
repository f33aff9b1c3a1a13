"""The steps by which a run is scored on an external data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from frostline.apply.dataset import check_classes
from frostline.apply.shared import scored_images
from frostline.cache import InputError, Manifest, Workspace, read_manifest
from frostline.study.file import NO_MODEL, Study
from frostline.study.plan import EXTERNAL, Cell, Step
from frostline.study.records import manifest_digests

# Of a frozen run's inputs those that are its embeddings'.
OF_EMBEDDINGS = (
    *("backbone", "weights", "feature", "features", "classifier", "normalisation", "compute"),
    "on_error",
)


def read_as(workspace: Workspace, cell: Cell, columns: Sequence[str] | None = None) -> Manifest:
    """Read the manifest of a cell's data set, with the modes of the one whose runs see it.

    A data set is grey where all of its images are: an external one is what the run was trained on.
    `columns` are those of `read_manifest`.
    """
    manifest = read_manifest(workspace.manifest(cell.dataset), columns)
    if not cell.of:
        return manifest
    modes = read_manifest(workspace.manifest(cell.of), ("mode", "format")).table
    return replace(manifest, all_modes=modes.drop_duplicates())


def check_pair(workspace: Workspace, study: Study, cell: Cell) -> dict[str, str]:
    """Check that runs of a data set can be scored on an external one.

    Returns
    -------
    Digests of the columns that their scores depend on: splits are none of them.

    Raises
    ------
    InputError
        If a label is no class of training, nothing is left to score, or images are read otherwise.
    """
    manifest, other = read_as(workspace, cell), read_manifest(workspace.manifest(cell.of))
    entry, own = study.external[cell.dataset], study.datasets[cell.of]
    trained = other.images(own.label, own.split)
    classes = trained.loc[trained["split"] == "train", "label"].dropna()
    images, _ = scored_images(manifest, other, entry.label, own_ids=entry.ids == "own")
    check_classes(images, sorted(classes.unique()), cell.dataset, f"data set {cell.of!r}")
    for column in entry.shared:
        if column not in manifest.table and column not in other.table:
            raise InputError(
                f"Neither data set {cell.dataset!r} nor {cell.of!r} has a column {column!r}, which "
                f"external.{cell.dataset}.shared names: name one of a manifest."
            )
    network = cell.network()
    if network.inputs(workspace, manifest) != network.inputs(workspace, other):
        raise InputError(
            f"Data sets {cell.dataset!r} and {cell.of!r} are indexed with other options of window "
            "or spacing, and a run sees images of one kind: give both the same."
        )
    digests = manifest_digests(manifest, entry.label)
    return {name: value for name, value in digests.items() if name != "split"}


def external_steps(
    study: Study, trained: Step, cell: Cell, digests: Mapping[str, str]
) -> list[Step]:
    """Give the stores that a run needs of an external data set, and the step that scores it.

    Parameters
    ----------
    trained : Step
        Which trains the run.
    cell : Cell
        Of the external data set.
    digests : mapping
        What `check_pair` gives.

    Raises
    ------
    InputError
        If the run is a cross-validation.
    """
    if "cv" in trained.inputs:
        raise InputError(NO_MODEL)
    seen = trained.inputs["pixels"]
    crop = trained.inputs.get("crop", seen["geometry"]["crop"])
    pixels = {**seen, "geometry": {**seen["geometry"], "crop": crop}}
    common = {"dataset": cell.dataset, "pixels": pixels}
    on_error = {"on_error": study.on_error}
    decoded = Step("pixels", f"{cell.dataset} at {crop} pixels", common | on_error, (), cell)
    steps, stored = [decoded], decoded.key
    if trained.kind != "finetune":
        inputs = {name: trained.inputs[name] for name in OF_EMBEDDINGS if name in trained.inputs}
        needs = (decoded.key,) if study.keep_pixels else ()
        depth = " at every depth" if trained.kind == "read" else ""
        name = f"{cell.dataset}/{cell.backbone.name}{depth}"
        embedded = Step("embeddings", name, common | inputs, needs, cell)
        steps, stored = [*([decoded] if needs else []), embedded], embedded.key
    entry = study.external[cell.dataset]
    run: dict[str, Any] = {**common, **on_error, "run": trained.key, "external": dict(digests)}
    run |= {"ids": entry.ids, "label": entry.label}
    steps.append(Step(EXTERNAL, cell.name, run, (trained.key, stored), cell))
    return steps

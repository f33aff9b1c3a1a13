"""External data sets in a report: what they are called, and what they share with the internal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from frostline.apply.shared import find_shared, place_sentences
from frostline.audits import audit_datasets
from frostline.cache import Manifest, Store, Workspace, find_stores, read_manifest
from frostline.cache.tables.words import counted
from frostline.study.file import Study

if TYPE_CHECKING:
    from frostline.report import DataAudit, Predictions

NO_NEAR = "Near-duplicates of both were not looked for: they have no pixels of one geometry."


def outside_runs(runs: Iterable[Predictions], shown: Sequence[Predictions]) -> list[Predictions]:
    """Choose the runs on external data sets whose trained run a report shows."""
    known = {run.run for run in shown}
    return [run for run in runs if run.meta.get("trained_run") in known]


def external_title(dataset: str, of: str) -> str:
    """Name an external data set the way that reports do."""
    from frostline.report.statistics.names import dataset_title

    return dataset_title({"dataset": dataset, "trained_on": of})


def titles(runs: Iterable[Predictions]) -> dict[str, tuple[str, str]]:
    """Give the external data sets of runs by title: the name, and that of the training's."""
    pairs = dict.fromkeys((str(run.meta["dataset"]), str(run.meta["trained_on"])) for run in runs)
    return {external_title(*pair): pair for pair in pairs}


def external_audits(
    workspace: Workspace, study: Study, runs: Sequence[Predictions]
) -> dict[str, DataAudit]:
    """Audit the external data sets of runs, by title; all of their images are of split test."""
    found = {}
    for title, (name, of) in titles(runs).items():
        (audit,) = audit_datasets(workspace, [name], pooled=True).values()
        audit.splits["dataset"] = title
        said = shared_sentences(workspace, study, name, of)
        found[title] = replace(audit, shared=said)
    return found


def shared_sentences(workspace: Workspace, study: Study, name: str, of: str) -> list[str]:
    """State what an external data set shares with the one whose runs are scored on it."""
    entry = study.external[name]
    external, internal = (read_manifest(workspace.manifest(one)) for one in (name, of))
    shared = find_shared(external, internal, own_ids=entry.ids == "own")
    images = external.images(entry.label)
    labelled = images["label"].notna().to_numpy(bool)
    scored, gone = images[labelled & ~shared.left_out], images[labelled & shared.left_out]
    said = [
        f"{name} is external to the runs trained on {of}: all of its labelled images are scored "
        f"whatever their split, {_sizes(scored)}.",
        _patients(shared.patients, name, of, entry.ids),
        f"Images of {name} that are in {of} too, by content or pixels: {shared.images:,}."
        + _near(workspace, external, internal, shared.left_out),
    ]
    if len(gone):
        said.append(f"Left out of the score because of that: {_sizes(gone)}.")
    said += place_sentences(external, internal, entry.shared)
    own = study.datasets[of]
    classes = internal.images(own.label, own.split)
    trained = classes.loc[classes["split"] == "train", "label"].dropna().unique()
    absent = sorted(set(trained) - set(scored["label"]))
    if absent:
        word = "a class" if len(absent) == 1 else "classes"
        said.append(f"{name} has no image of {', '.join(absent)}, {word} of training.")
    return said


def _sizes(images: pd.DataFrame) -> str:
    groups = counted(images["group_id"].nunique(), "group")
    return f"{counted(len(images), 'image')} of {groups}"


def _patients(count: int, name: str, of: str, ids: str) -> str:
    if ids == "own":
        return (
            f"Whether {name} and {of} have patients in common is not known: each has group ids of "
            "its own."
        )
    return f"Patients of {name} that are in {of} too, by group id: {count:,}."


def _near(
    workspace: Workspace, external: Manifest, internal: Manifest, left_out: np.ndarray
) -> str:
    """Say how many images of what is scored look like one of the internal data set."""
    from frostline.extract.audit.thumbnails import near_pairs, store_hashes

    stores = [_stores(workspace, one) for one in (external, internal)]
    both = [key for key in stores[0] if key in stores[1]]
    if not both:
        return f" {NO_NEAR}"
    mine, theirs = (store_hashes(Store.open(one[both[0]])) for one in stores)
    wanted = {key.tobytes() for key in external.keys()[~left_out]}
    kept = np.array([key.tobytes() in wanted for key in mine[0]], dtype=bool)
    bits = np.concatenate([mine[1][kept], theirs[1]])
    pairs, _ = near_pairs(bits)
    first = int(kept.sum())
    crossing = pairs[(pairs[:, 0] < first) & (pairs[:, 1] >= first)]
    alike = counted(len(np.unique(crossing[:, 0])), "image")
    return f" Of those that are scored, {alike} look like one there (near-duplicates)."


def _stores(workspace: Workspace, manifest: Manifest) -> dict[str, Path]:
    folder = workspace.pixels(str(manifest.meta["dataset"]))
    return {path.name: path for path in find_stores(folder)}

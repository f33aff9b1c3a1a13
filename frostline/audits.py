"""Audits and negative controls of data sets, from what their workspace holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from frostline.cache.tables.words import counted

if TYPE_CHECKING:
    from frostline.cache import Manifest, Store, Workspace
    from frostline.extract.audit.audit import Audit
    from frostline.extract.audit.near_duplicates import ImageHashes
    from frostline.report import DataAudit

NO_PIXELS = "Near-duplicates were not looked for: no pixels are stored."
NO_EMBEDDINGS = "Embeddings were not compared: none are stored."
MOST_COMPARED = 50_000  # embeddings; all pairs of so many take minutes
TOO_MANY = f"Embeddings were not compared: there are more than {MOST_COMPARED:,}."
# Columns of the manifest that are known without looking at the picture.
HEADERS = ("width", "height", "mode", "format")
# What users bring of the kind, by its usual names; others could restate the label.
BROUGHT = (
    *("age", "sex", "gender"),
    *("site", "localization", "hospital", "centre", "center"),
    *("scanner", "manufacturer", "device"),
)
# Controls ask whether there is anything to find, for which so many images are enough.
MOST_IMAGES = 4_000


def audit_datasets(
    workspace: Workspace, names: Iterable[str], *, pooled: bool = False
) -> dict[str, DataAudit]:
    """Audit data sets of a workspace by their manifests and stored pixels.

    Parameters
    ----------
    pooled : bool
        Whether all images are of split test, whatever the manifest says: nothing trains on them.
    """
    return {name: _audit(workspace, name, pooled) for name in names}


def stored_hashes(folder: Path) -> ImageHashes | None:
    """Compute content keys and perceptual hashes from the largest pixel store of a folder."""
    from frostline.cache import Store, find_stores
    from frostline.console import progress
    from frostline.extract.audit.thumbnails import store_hashes

    stores = [Store.open(path) for path in find_stores(folder)]
    if not stores:
        return None
    with progress("Comparing images", "images") as update:
        return store_hashes(max(stores, key=len), update)


def audit_stored(
    workspace: Workspace, name: str, *, pooled: bool = False
) -> tuple[Audit, list[str]]:
    """Audit a data set by its manifest, and by the pixels and embeddings that are stored.

    `pooled` is that of `audit_datasets`.

    Returns
    -------
    The audit, and sentences on what was not looked for.
    """
    from frostline.cache import read_manifest
    from frostline.cache.manifest import SPLITS
    from frostline.extract.audit.audit import audit

    manifest = read_manifest(workspace.manifest(name))
    if pooled:
        manifest.table["split"] = "test"
    hashes = stored_hashes(workspace.pixels(name))
    store = fullest_store(workspace, manifest, name)
    missing = [NO_PIXELS] if hashes is None else []
    embeddings = None
    if store is None:
        missing.append(NO_EMBEDDINGS)
    elif len(store) > MOST_COMPARED:
        missing.append(TOO_MANY)
    else:
        embeddings = store.keys, _values(store, np.arange(len(store)))
    splits = ("test",) if pooled else SPLITS
    return audit(manifest, splits=splits, hashes=hashes, embeddings=embeddings), missing


def _audit(workspace: Workspace, name: str, pooled: bool) -> DataAudit:
    from frostline.cache import read_manifest
    from frostline.extract.audit.audit import table_of_classes, table_of_splits
    from frostline.extract.audit.details import details
    from frostline.report import DataAudit

    found, missing = audit_stored(workspace, name, pooled=pooled)
    findings = [(finding.severity, finding.text) for finding in found.findings]
    findings += [("note", text) for text in missing]
    tables = table_of_splits(found), table_of_classes(found)
    meta = read_manifest(workspace.manifest(name)).meta
    origin = " ".join([*_slices(meta.get("options") or {}), _origin(meta)])
    return DataAudit(*tables, findings, _flagged(found), details(found), origin)


def _slices(options: Mapping[str, Any]) -> list[str]:
    """Say which slices of volumes became images, by a mask or by a rule."""
    rule, _, number = str(options.get("slices") or "").partition(":")
    if rule == "all":
        return ["All axial slices of each volume were taken."]
    if rule in ("middle", "every"):
        which = f"the middle {number}" if rule == "middle" else f"one in {number}, from the lowest,"
        return [f"Of the axial slices of each volume {which} were taken."]
    if options.get("mask") and "min_roi" in options:
        least = options["min_roi"]
        return [f"Axial slices were taken whose mask has more than {counted(least, 'pixel')}."]
    return []


def _origin(meta: Mapping[str, Any]) -> str:
    """Say in sentences which splits came with the data, and how the others were made."""
    if not meta.get("made_splits"):
        return "The splits came with the data."
    made = [
        f"{name} ({meta[f'{part}_fraction']:.0%} of the groups {of})"
        for part, name, of in (
            ("test", "test", "of each class"),
            ("val", "validation", "that were left of each class"),
        )
        if part in meta["made_splits"]
    ]
    came = "" if "test" in meta["made_splits"] else " The test split came with the data."
    return (
        f"Drawn by group, stratified by class, with seed {meta['seed']}: {' and '.join(made)}."
        f"{came} Groups that share an image, or pixels, were kept together."
    )


def _flagged(found: Audit) -> dict[str, pd.DataFrame]:
    from frostline.extract.audit.flow import FLOW

    tables = {
        FLOW: found.flow,
        "Groups in several splits": found.crossing_groups,
        "Equal images": found.duplicates,
    }
    if found.near_duplicates is not None:
        tables["Near-duplicates in several groups"] = found.near_duplicates
    if found.alike_embeddings is not None:
        tables["Nearly equal embeddings in several groups"] = found.alike_embeddings
    if found.header_accuracy is not None:
        alone = found.header_accuracy
        title = (
            "Sizes, formats and bit depths, which alone predict the class with a balanced "
            f"accuracy of {alone.balanced_accuracy:.0%} (chance {alone.chance:.0%})"
        )
        tables[title] = found.headers
    return tables | {"Unreadable files": found.unreadable}


def run_controls(
    workspace: Workspace, dataset: str, seed: int = 0
) -> tuple[pd.DataFrame, list[str]]:
    """Run `frostline.report.negative_controls` on a data set.

    Every labelled image that could be read takes part, whatever its split; whole groups are drawn
    where there are more than 4,000 images. Embeddings are those of the fullest store.

    Returns
    -------
    table : DataFrame
        As `negative_controls` gives it.
    notes : list of str
        What was used, and what was left out and why.

    Raises
    ------
    InputError
        If fewer than two classes have enough groups for the cross-validation.
    """
    from frostline.cache import read_manifest
    from frostline.report import negative_controls
    from frostline.report.statistics.controls import FOLDS

    manifest = read_manifest(workspace.manifest(dataset))
    notes: list[str] = []
    images = manifest.images()
    images = images[images["label"].notna() & images["mode"].notna()]
    store = fullest_store(workspace, manifest, dataset)
    if store is None:
        notes.append(
            "Labels permuted and the split by image were left out: no embeddings are stored yet "
            f"(frostline extract --dataset {dataset})."
        )
    else:
        images = images.assign(row=store.locate(manifest.keys()[images.index]))
        images = images[images["row"] >= 0]
        backbone = store.spec.get("backbone", store.folder.parent.name)
        notes.append(f"Embeddings: {backbone}, {counted(len(images), 'image', 'labelled')}.")
    groups = images.groupby("label")["group_id"].nunique()
    rare = groups[groups < FOLDS]
    if len(rare) and len(groups) - len(rare) >= 2:
        named = ", ".join(f"{label} ({count})" for label, count in rare.items())
        notes.append(f"Left out, with fewer than {FOLDS} groups: {named}.")
        images = images[~images["label"].isin(list(rare.index))]
    if len(images) > MOST_IMAGES:
        images = _some_groups(images, seed)
        notes.append(
            f"Drawn: {counted(images['group_id'].nunique(), 'group')} of {len(images):,} images."
        )
    columns = [str(n) for n in images if n in HEADERS or str(n).lower() in BROUGHT]
    notes.append(f"Metadata: {', '.join(columns)}.")
    table = negative_controls(
        None if store is None else _values(store, images["row"].to_numpy()),
        images["label"].tolist(),
        images["group_id"].tolist(),
        metadata=_plain(images[columns]),
        seed=seed,
    )
    return table, notes


def run_readable(
    workspace: Workspace, dataset: str, by: str | Sequence[str], seed: int = 0
) -> pd.DataFrame:
    """Ask of each backbone's embeddings whether columns of the manifest can be read from them.

    A head is trained on the images of train and val, and scored on those of test, labelled or not;
    nothing is written. Of each backbone the store with the most images counts.

    Parameters
    ----------
    by : str or sequence of str
        Columns, numbers with cut points: `sex,age:60`.

    Returns
    -------
    DataFrame
        The fields of `Readable` and its `sentence`, a row a column and backbone.

    Raises
    ------
    InputError
        If there are no embeddings, no such column, or too few groups.
    """
    from frostline.cache import InputError, read_manifest
    from frostline.report.clinical.subgroups.columns import (
        make_subgroups,
        manifest_column,
        parse_by,
    )
    from frostline.report.clinical.subgroups.readable import read_column

    manifest = read_manifest(workspace.manifest(dataset))
    asked = parse_by(by, "--readable")
    columns = [make_subgroups(manifest_column(manifest, one.name), one) for one in asked]
    stores = _stores_by_backbone(workspace, manifest, dataset)
    if not stores:
        raise InputError(
            f"No embeddings of {dataset!r} are stored, so nothing can be read from them: "
            f"`frostline extract --dataset {dataset} --backbone BACKBONE` makes some."
        )
    table = manifest.table
    groups = pd.factorize(table["group_id"])[0]
    found = []
    for backbone, store in stores.items():
        places = store.locate(manifest.keys())
        there = (places >= 0) & table["split"].notna().to_numpy()
        values = _values(store, places[there])
        test = (table["split"] == "test").fillna(False).to_numpy(dtype=bool)[there]
        for one, (names, codes) in zip(asked, columns, strict=True):
            rows = values, codes[there], names, groups[there], test
            found.append(read_column(*rows, column=one.text, backbone=backbone, seed=seed))
    return pd.DataFrame([vars(one) | {"sentence": one.sentence} for one in found])


def render_readable(table: pd.DataFrame) -> str:
    """Write what can be read from embeddings as text: a sentence each."""
    return "\n".join(["What can be read from the embeddings", *table["sentence"]])


def _stores_by_backbone(workspace: Workspace, manifest: Manifest, dataset: str) -> dict[str, Store]:
    """Find of each backbone the embedding store with the most images of the manifest."""
    from frostline.cache import Store, find_stores

    best: dict[str, tuple[int, Store]] = {}
    for folder in sorted(workspace.embeddings(dataset, "x").parent.glob("*")):
        for path in find_stores(folder):
            store = Store.open(path)
            there = int((store.locate(manifest.keys()) >= 0).sum())
            backbone = str(store.spec.get("backbone", folder.name))
            if there > best.get(backbone, (0, store))[0]:
                best[backbone] = there, store
    return {backbone: store for backbone, (_, store) in best.items()}


def render_controls(table: pd.DataFrame, notes: list[str]) -> str:
    """Write negative controls as text: one line each, scores in percent."""
    lines = ["Negative controls: balanced accuracy in percent, cross-validated"]
    for row in table.to_dict("records"):
        interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        text = f"  {row['control']:<24} {100 * row['estimate']:5.1f} {interval:<14}"
        text += f" chance {100 * row['chance']:.1f}"
        lines.append(f"{text}  {row['verdict']}".rstrip())
    return "\n".join([*lines, *notes])


def fullest_store(workspace: Workspace, manifest: Manifest, dataset: str) -> Store | None:
    """Find the embedding store with the most images of the manifest; among equals the first."""
    from frostline.cache import Store, find_stores

    best, most = None, 0
    for folder in sorted(workspace.embeddings(dataset, "x").parent.glob("*")):
        for path in find_stores(folder):
            store = Store.open(path)
            there = int((store.locate(manifest.keys()) >= 0).sum())
            if there > most:
                best, most = store, there
    return best


def _some_groups(images: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw whole groups until there are enough images."""
    names = images["group_id"].unique()
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = images["group_id"].value_counts().reindex(names).to_numpy()[order]
    kept = names[order[: int(np.searchsorted(np.cumsum(sizes), MOST_IMAGES)) + 1]]
    return images[images["group_id"].isin(list(kept))]


def _values(store: Store, rows: np.ndarray) -> Any:
    values = store.read(rows)
    return values.reshape(len(values), -1).astype(np.float64)


def _plain(columns: pd.DataFrame) -> pd.DataFrame:
    """Make columns of numbers numeric and all others text."""
    out = {}
    for name in columns:
        numbers = pd.to_numeric(columns[name], errors="coerce")
        plain = numbers.notna().sum() == columns[name].notna().sum()
        out[name] = numbers.astype("float64") if plain else columns[name].astype("string")
    return pd.DataFrame(out)

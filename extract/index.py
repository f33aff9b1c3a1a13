"""Indexing: from files to a manifest, with groups and splits, again and again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import pandas as pd

from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.cache.tables.class_order import check_declared
from frostline.cache.tables.labels import check_labels
from frostline.cache.workspace import as_path, check_new, is_url
from frostline.extract.files import Progress, add_file_facts
from frostline.extract.groups import with_groups
from frostline.extract.images.opened import remote_errors
from frostline.extract.pixel_keys import add_pixel_keys, grey_levels
from frostline.extract.private import hide_columns
from frostline.extract.readers.kinds import find_kind, resolve_options
from frostline.extract.readers.reading import Reading
from frostline.extract.readers.sources import declared_source, image_sources
from frostline.extract.splits import assign_splits, made_parts


class Fractions(TypedDict, total=False):
    """How splits that the data lack are made: fields of `assign_splits`."""

    seed: int
    test_fraction: float | None
    val_fraction: float


def index_dataset(
    workspace: Workspace,
    name: str,
    *,
    kind: str = "folder",
    roots: Sequence[str | os.PathLike[str]],
    group_pattern: str | None = None,
    classes: Sequence[str] | None = None,
    resplit: bool = False,
    rehash: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **fractions: Unpack[Fractions],
) -> Manifest:
    """Make the manifest of a data set, or bring it up to date.

    Parameters
    ----------
    kind, roots, options
        What reads the data, from which folders or URLs, and how: `extract.readers.kinds`. With the
        option `follow` (a data set, or a list), groups have the split that they have there.
    group_pattern
        See `groups_from_names`.
    classes
        All classes from the lowest to the highest; as declared before if None.
    resplit, rehash
        Make splits again, else every group that was indexed before stays where it is; and read
        every file again, whatever its size and time say.
    progress
        Called with files read and files in all, then again as their pixels are compared.
    **fractions
        Of `assign_splits`. The kind says how much is for test if `test_fraction` is None.

    Returns
    -------
    The manifest, as written. Files that cannot be read are in it, with no `mode`.
    """
    previous, folders = _previous(workspace, name), _folders(roots)
    if previous is not None and not resplit:
        _check_pattern(name, previous.meta.get("group_pattern"), group_pattern)
    resolved, reader = _resolved(kind, options or {}, previous), find_kind(kind)
    known = None if rehash else previous
    reading = reader.read(folders, resolved, known)
    _check_labels(reading.table)
    order = _class_order(name, reading.table, classes, previous)
    table = with_groups(hide_columns(reading.table, reader.private, workspace), group_pattern)
    splits = _fractions(fractions, reader.test_fraction)
    kept = _kept_groups(None if resplit else previous)
    kept = _followed_groups(workspace, name, resolved["follow"], kept)
    table = add_file_facts(table, folders, known, progress)
    table = add_pixel_keys(table, folders, resolved, known, progress)
    columns = (list(table[column]) for column in ("group_id", "label", "split", "pixel_key"))
    split = assign_splits(*columns, kept=kept, **splits)
    meta: dict[str, Any] = {"dataset": name, "kind": kind, "roots": list(map(str, folders))}
    meta |= {"classes": order, "options": resolved, "group_pattern": group_pattern, **splits}
    meta |= {"made_splits": made_parts(table["split"]), **_told(reading, table, folders, resolved)}
    meta |= {"sources": image_sources(kind, resolved, workspace.root)}
    _warn_of_gone(name, previous, table)
    write_manifest(workspace.manifest(name), Manifest(table.assign(split=split), meta))
    return read_manifest(workspace.manifest(name))


def _resolved(kind: str, options: Mapping[str, Any], previous: Manifest | None) -> dict[str, Any]:
    """Resolve the options, with the sources that were declared before unless others are given."""
    found = resolve_options(kind, options)
    return found | {"source": declared_source(found["source"], previous)}


def _told(
    reading: Reading, table: pd.DataFrame, folders: Sequence[Path], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what the reader left out and noted, with the levels of grey images."""
    notes = reading.notes | grey_levels(table, folders, options)
    return {"left_out": reading.left_out.as_meta(), "notes": notes}


def _check_labels(table: pd.DataFrame) -> None:
    ids = table["image_id"]
    check_labels(table["label"], lambda row: f"Image {ids.iat[row]}")


def _fractions(given: Fractions, test_fraction: float) -> dict[str, Any]:
    found: dict[str, Any] = {"seed": 0, "test_fraction": None, "val_fraction": 0.2, **given}
    if found["test_fraction"] is None:
        found["test_fraction"] = test_fraction
    return found


def _class_order(
    name: str, table: pd.DataFrame, given: Sequence[str] | None, previous: Manifest | None
) -> list[str] | None:
    """Give the declared order, checked: the one given, or else the one declared before."""
    declared = given or (previous.classes if previous is not None else None)
    if declared is None:
        return None
    check_declared(declared, table["label"].dropna().astype(str), f"Data set {name!r}")
    return list(declared)


def _previous(workspace: Workspace, name: str) -> Manifest | None:
    path = workspace.manifest(name)
    check_new(path)
    return read_manifest(path) if path.exists() else None


def _warn_of_gone(name: str, previous: Manifest | None, table: pd.DataFrame) -> None:
    """Say which images were in the data set before and are not now; it may be another one."""
    if previous is None:
        return
    before = previous.table
    gone = before[~before["image_id"].isin(table["image_id"])]
    if len(gone):
        test = int((gone["split"] == "test").sum())
        first = ", ".join(gone["image_id"].head(3)) + (", …" if len(gone) > 3 else "")
        warnings.warn(
            f"{len(gone):,} of the {len(before):,} images that data set {name!r} had before are "
            f"not there any more, {test:,} of them in test ({first}).",
            stacklevel=3,
        )


def _check_pattern(name: str, before: str | None, now: str | None) -> None:
    """Check that groups are found as before: under other names none would keep its split."""
    if before is not None and now != before:
        raise InputError(
            f"Data set {name!r} was indexed with --group-pattern {before!r}, and "
            + ("now has none" if now is None else f"now has {now!r}")
            + ": give the same again, or --resplit for new groups and new splits."
        )


def _folders(roots: Sequence[str | os.PathLike[str]]) -> list[Path]:
    paths = [as_path(root) for root in roots]
    folders = [path if is_url(path) else path.resolve() for path in paths]
    if not folders:
        raise InputError("No root is given: name the folder that holds the images.")
    for folder in folders:
        if not _is_folder(folder):
            raise InputError(f"There is no folder {folder}: correct --root.")
    if len(set(folders)) < len(folders):
        raise InputError("A root is given twice: name each folder once.")
    return folders


def _is_folder(path: Path) -> bool:
    if not is_url(path):
        return path.is_dir()
    try:
        with remote_errors(path):
            path.fs.invalidate_cache()  # type: ignore[attr-defined]  # files may be new
            return path.fs.isdir(path.path)  # type: ignore[attr-defined]
    except OSError as error:
        raise InputError(
            f"Cannot read {path} ({error.strerror}): correct --root, or what gives you access."
        ) from error


def _kept_groups(previous: Manifest | None) -> dict[str, str]:
    """Give the groups whose split is ours to keep: all but those in parts that the data bring."""
    if previous is None:
        return {}
    ours = {"train", *previous.meta.get("made_splits", [])}
    splits = previous.table.groupby("group_id")["split"].agg(["nunique", "first"])
    single = splits[(splits["nunique"] == 1) & splits["first"].isin(ours)]
    return dict(zip(single.index, single["first"], strict=True))


def _followed_groups(
    workspace: Workspace, name: str, follow: str | Sequence[str] | None, kept: Mapping[str, str]
) -> dict[str, str]:
    """Add the groups of other data sets to those that keep their split."""
    parts = dict(kept)
    source = dict.fromkeys(kept, name)
    for other in [follow] if isinstance(follow, str) else follow or []:
        table = read_manifest(workspace.manifest(other), ["group_id", "split"]).table
        splits = table.groupby("group_id")["split"].agg(["nunique", "first"])
        for group, split in splits.loc[splits["nunique"] == 1, "first"].items():
            group = str(group)
            if parts.setdefault(group, split) != split:
                raise InputError(
                    f"Group {group} is in {split} of {other}, but in {parts[group]} of "
                    f"{source[group]}: index {name} again with --resplit, or follow one of them."
                )
            source.setdefault(group, other)
    return parts

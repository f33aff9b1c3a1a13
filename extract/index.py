"""Indexing: from files to a manifest, with groups and splits, again and again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from frostline.cache import InputError, Manifest, Workspace, read_manifest, write_manifest
from frostline.extract.files import Progress, add_file_facts
from frostline.extract.private import hide_columns
from frostline.extract.readers.kinds import find_kind, resolve_options
from frostline.extract.splits import assign_splits, made_parts


def index_dataset(
    workspace: Workspace,
    name: str,
    *,
    kind: str = "folder",
    roots: Sequence[Path],
    group_pattern: str | None = None,
    seed: int = 0,
    test_fraction: float | None = None,
    val_fraction: float = 0.2,
    resplit: bool = False,
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Manifest:
    """Make the manifest of a data set, or bring it up to date.

    Parameters
    ----------
    workspace, name
        Where the manifest goes.
    kind, roots, options
        What reads the data, from which folders, and how; see `frostline.extract.readers.kinds`.
    group_pattern
        Regular expression that finds the group (patient) in a file's name, or in its path
        relative to the root if the pattern holds a ``/``. The group is what the named group
        ``group`` matched, else the first group in parentheses, else the whole match.
    seed, test_fraction, val_fraction
        For splits that the data lack; see `assign_splits`. The kind says which part is for test
        unless it is given: 0.3, or that of the paper.
    resplit
        Make these splits afresh. Otherwise every group that was indexed before stays where
        it is, whatever the seed and fractions.
    progress
        Called with files read and files in all.

    Notes
    -----
    With the option ``follow``, the name of another data set or a list of them, groups that are in
    these have the split here that they have there: modalities of the same patients.

    Returns
    -------
    The manifest, as written. Files that cannot be read are in it, with no ``mode``.

    Raises
    ------
    InputError
        Saying what is wrong with the data or the options. Nothing is written then.
    """
    path = workspace.manifest(name)
    previous = read_manifest(path) if path.exists() else None
    resolved = resolve_options(kind, options or {})
    folders = _folders(roots)
    reader = find_kind(kind)
    reading = reader.read(folders, resolved, previous)
    table = hide_columns(reading.table, reader.private, workspace)
    table = _with_groups(table, group_pattern)
    made = made_parts(table["split"])
    kept = {} if previous is None or resplit else _kept_groups(previous)
    kept = _followed_groups(workspace, name, resolved["follow"], kept)
    if test_fraction is None:
        test_fraction = reader.test_fraction
    split = assign_splits(
        list(table["group_id"]),
        list(table["label"]),
        list(table["split"]),
        kept=kept,
        test_fraction=test_fraction,
        val_fraction=val_fraction,
        seed=seed,
    )
    table = add_file_facts(table.assign(split=split), folders, previous, progress)
    meta = {
        "dataset": name,
        "kind": kind,
        "roots": [str(folder) for folder in folders],
        "options": resolved,
        "group_pattern": group_pattern,
        "seed": seed,
        "test_fraction": test_fraction,
        "val_fraction": val_fraction,
        "made_splits": made,
        "notes": reading.notes,
    }
    write_manifest(path, Manifest(table, meta))
    return read_manifest(path)


def _folders(roots: Sequence[Path]) -> list[Path]:
    folders = [Path(root).resolve() for root in roots]
    if not folders:
        raise InputError("no root is given; name the folder that holds the images")
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}; correct the root")
    if len(set(folders)) < len(folders):
        raise InputError("a root is given twice; name each folder once")
    return folders


def _with_groups(table: pd.DataFrame, pattern: str | None) -> pd.DataFrame:
    """Fill ``group_id``, by the pattern or else by the image itself."""
    table = table.assign(
        **{
            name: table[name].astype(object).where(table[name].notna(), None)
            for name in ("label", "group_id", "split")
        }
    )
    if pattern is None:
        return table.assign(
            group_id=table["group_id"].where(table["group_id"].notna(), table["image_id"])
        )
    if table["group_id"].notna().any():
        raise InputError("groups are given twice; use either a group column or a group pattern")
    return table.assign(group_id=groups_from_names(list(table["path"]), pattern))


def groups_from_names(paths: Sequence[str], pattern: str) -> list[str]:
    """Find each path's group by a regular expression; see `index_dataset`.

    Raises
    ------
    InputError
        If the pattern is no regular expression, or finds nothing in a name.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise InputError(f"group pattern {pattern!r} is no regular expression: {error}") from error
    whole_path = "/" in pattern
    group: int | str = min(1, expression.groups)
    if "group" in expression.groupindex:
        group = "group"
    found = []
    for path in paths:
        match = expression.search(path if whole_path else PurePosixPath(path).name)
        found.append(match[group] if match else None)
    missing = [path for path, text in zip(paths, found, strict=True) if not text]
    if missing:
        raise InputError(
            f"group pattern {pattern!r} finds no group in {len(missing)} of {len(paths)} names, "
            f"such as {missing[0]}"
        )
    return [text for text in found if text]


def _kept_groups(previous: Manifest) -> dict[str, str]:
    """Give the groups whose split is ours to keep: all but those in parts the data brought."""
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
        table = read_manifest(workspace.manifest(other)).table
        splits = table.groupby("group_id")["split"].agg(["nunique", "first"])
        for group, split in splits.loc[splits["nunique"] == 1, "first"].items():
            group = str(group)
            if parts.setdefault(group, split) != split:
                raise InputError(
                    f"group {group} is in {split} of {other}, but in {parts[group]} of "
                    f"{source[group]}; index {name} again with --resplit, or follow one of them"
                )
            source.setdefault(group, other)
    return parts

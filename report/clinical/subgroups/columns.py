"""Columns by which subgroups are made: asked for by name, found in a table or manifest, and cut."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.manifest import COLUMNS, KEYS, Manifest, read_manifest
from frostline.cache.tables.words import counted
from frostline.cache.workspace import Workspace, is_name
from frostline.report.predictions import Predictions
from frostline.report.statistics.metrics import Codes
from frostline.report.statistics.sample import Sample

NOT_KNOWN = "not known"
# What tables write where nothing is known, besides an empty cell.
EMPTY = ("", "unknown", "not known", "n/a", "na", "nan", "none", "null")
# Numbers of so many values are categories; of more they need cut points.
MOST_NUMBERS = 6
MOST_SUBGROUPS = 20


@dataclass(frozen=True)
class Asked:
    """A column by which subgroups are made.

    Attributes
    ----------
    name : str
        Its name.
    cuts : tuple of float
        From each on begins another subgroup; empty for the values themselves.
    """

    name: str
    cuts: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """How it is asked for."""
        return ":".join([self.name, *(f"{cut:g}" for cut in self.cuts)])


def parse_by(by: str | Sequence[str], option: str = "--by") -> list[Asked]:
    """Read columns with their cut points: `sex,age:20:60,site`, or such parts in a list.

    `option` is what errors call it.

    Raises
    ------
    InputError
        If there is none, one is there twice, or cut points are no rising numbers.
    """
    given = [by] if isinstance(by, str) else list(by)
    parts = [part.strip() for text in given for part in text.split(",")]
    asked = [_parse(part, option) for part in parts if part]
    if not asked:
        raise InputError(
            f"{option} names no column: give columns of the manifest, as in sex,age:20:60."
        )
    names = [one.name for one in asked]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"{option} names {twice[0]!r} twice: give each column once.")
    return asked


def _parse(part: str, option: str) -> Asked:
    name, *texts = part.split(":")
    if not texts:
        return Asked(name)
    try:
        cuts = tuple(map(float, texts))
    except ValueError:
        cuts = ()
    rising = all(one < other for one, other in itertools.pairwise(cuts))
    if not (name and cuts and rising and np.isfinite(cuts).all()):
        raise InputError(
            f"{option} {part!r}: behind a column stand cut points, numbers that rise, as in "
            "age:20:60."
        )
    return Asked(name, cuts)


def find_column(run: Predictions, sample: Sample, asked: Asked) -> pd.Series:
    """Give a column for the rows of a sample, from the run's table or its manifest: object [n].

    Rows are joined by `image_id`. Where rows are patients it must be the same in all their images.

    Raises
    ------
    InputError
        If neither has the column, images of a patient differ in it, or the model itself wrote it.
    """
    table, name = run.table, asked.name
    if name == "prediction" or name in (f"prob_{one}" for one in run.classes):
        raise InputError(
            f"Column {name!r} is what the model said, and subgroups by it differ whatever the "
            "patients: give a column that was known before."
        )
    if sample.ids is None:
        raise InputError(f"{run.run}: there is no image_id to join {name!r} by: add the column.")
    there = name in table
    if not there and run.meta.get("level") == "patient":  # its rows have no images
        known = _of_manifest(run, name, "group_id")
        return _of_groups(run, known, name, known.index.to_numpy()).reindex(sample.ids)
    values = table[name] if there else table["image_id"].map(_of_manifest(run, name))
    values = values.astype(object)
    if sample.images is None:
        by_id = pd.Series(values.to_numpy(), index=table["image_id"])
    else:
        by_id = _of_groups(run, values, name, table["group_id"].to_numpy())
    return by_id.reindex(sample.ids)


def _of_groups(run: Predictions, values: pd.Series, name: str, groups: np.ndarray) -> pd.Series:
    grouped = values.groupby(groups)
    differing = grouped.nunique() > 1
    if differing.any():
        raise InputError(
            f"{run.run}: the images of group {differing.index[differing][0]!r} differ in "
            f"{name!r}, and a row is a group: use --aggregate none."
        )
    return grouped.first()


def _of_manifest(run: Predictions, name: str, index: str = "image_id") -> pd.Series:
    """Read a column of the manifest of a run's workspace, a row an image, named by `index`."""
    # Scored runs are called by the title of an external data set, which has a name of its own.
    dataset, folder = run.meta.get("external") or run.meta.get("dataset"), run.folder
    path = None
    if folder is not None and folder.name == "predictions" and is_name(str(dataset)):
        path = Workspace(folder.parent).manifest(str(dataset))
    if path is None or not path.is_file():
        raise InputError(
            f"{run.run}: there is no column {name!r} in its table, and no manifest next to it: add "
            "the column to the table, or give a file of predictions in its workspace."
        )
    manifest = read_manifest(path)
    values = manifest_column(manifest, name)
    return pd.Series(values.to_numpy(dtype=object), index=manifest.table[index])


def manifest_column(manifest: Manifest, name: str) -> pd.Series:
    """Give a column of a manifest.

    Raises
    ------
    InputError
        If it has none of this name; those that the user brought are named.
    """
    table = manifest.table
    if name in table and name not in KEYS:
        return table[name]
    own = [str(one) for one in table.columns if one not in COLUMNS]
    has = f"its manifest has {', '.join(own)}" if own else "its manifest has none of your own"
    raise InputError(f"Data set {manifest.meta.get('dataset')!r} has no column {name!r}: {has}.")


def make_subgroups(values: pd.Series, asked: Asked) -> tuple[list[str], Codes]:
    """Name the subgroups of a column in order, and number that of each row; -1 is not known.

    With cut points "below 20", "20 to below 60" and "60 and above"; else the values, by size or by
    name. An empty cell or "unknown" is not known.

    Raises
    ------
    InputError
        If a column of numbers needs cut points, of others has some, or has too many values.
    """
    texts = values.map(lambda value: "" if pd.isna(value) else str(value).strip())
    known = ~texts.str.lower().isin(EMPTY).to_numpy()
    numbers = pd.to_numeric(texts.where(known), errors="coerce").to_numpy(dtype=np.float64)
    numeric = bool(known.any()) and not np.isnan(numbers[known]).any()
    if asked.cuts:
        if not numeric:
            raise InputError(
                f"Column {asked.name!r} does not hold numbers, so that cut points mean nothing: "
                f"give {asked.name} alone."
            )
        codes = np.searchsorted(asked.cuts, numbers, side="right")
        return _ranges(asked.cuts), np.where(known, codes, -1).astype(np.int64)
    if numeric:
        found = sorted(set(numbers[known].tolist()))
        if len(found) > MOST_NUMBERS:
            raise InputError(
                f"Column {asked.name!r} holds {counted(len(found), 'number')} from {found[0]:g} to "
                f"{found[-1]:g}: give cut points, as in {asked.name}:{np.median(found):g}."
            )
        names = [f"{number:g}" for number in found]
        codes = np.searchsorted(found, np.where(known, numbers, found[0]))
        return names, np.where(known, codes, -1).astype(np.int64)
    names = sorted(set(texts[known]), key=_natural)
    if len(names) > MOST_SUBGROUPS:
        raise InputError(
            f"Column {asked.name!r} has {counted(len(names), 'value')}, more than "
            f"{MOST_SUBGROUPS}: choose one that makes fewer subgroups."
        )
    codes = pd.Categorical(texts.where(known), categories=names).codes
    return names, np.asarray(codes, dtype=np.int64)


def _ranges(cuts: Sequence[float]) -> list[str]:
    between = [f"{low:g} to below {high:g}" for low, high in itertools.pairwise(cuts)]
    return [f"below {cuts[0]:g}", *between, f"{cuts[-1]:g} and above"]


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort 2 before 10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, float(one), "") if one.isdigit() else (1, 0.0, one) for one in parts]

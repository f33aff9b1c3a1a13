"""What two data sets share: patients and images, by which their scores would not be independent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache import InputError, Manifest

# Columns that say where an image was made, by their usual names.
PLACES = (
    *("site", "hospital", "centre", "center"),
    *("scanner", "manufacturer", "device"),
)
MOST_VALUES = 5  # of a column, in a sentence


@dataclass(frozen=True)
class Shared:
    """What an external data set shares with the one whose runs are scored on it.

    Attributes
    ----------
    patients : int
        Groups of the external data set whose ids are in the other one too; the `image_id` that
        stands where no group is known is none. 0 where each has ids of its own.
    images : int
        Images that are in the other one too: of the same content, or of the same pixels.
    left_out : bool [n]
        Which rows of the external manifest are not scored: images of these patients, and of groups
        with such an image.
    """

    patients: int
    images: int
    left_out: npt.NDArray[np.bool_]


def find_shared(external: Manifest, internal: Manifest, *, own_ids: bool = False) -> Shared:
    """Find patients and images of an external data set that are in the internal one, in any split.

    Parameters
    ----------
    own_ids : bool
        Whether equal group ids of both say nothing, as where each numbers its own patients.
    """
    table, other = external.table, internal.table
    groups = table["group_id"].astype(object)
    known = (groups != table["image_id"].astype(object)).to_numpy(bool)
    theirs = other.loc[other["group_id"] != other["image_id"], "group_id"]
    same = known & groups.isin(set(theirs)).to_numpy(bool) & (not own_ids)
    equal = np.zeros(len(table), bool)
    for column in ("content_key", "pixel_key"):
        if column not in table or column not in other:  # manifests of 0.1 have no pixel_key
            continue
        keys = set(other[column].dropna())
        equal |= table[column].isin(keys).to_numpy(bool)
    left_out = same | groups.isin(set(groups[equal])).to_numpy(bool)
    return Shared(groups[same].nunique(), int(equal.sum()), left_out)


def scored_images(
    external: Manifest, internal: Manifest, label: str, *, own_ids: bool = False
) -> tuple[pd.DataFrame, dict[str, int]]:
    """List the images of an external data set that a run of the internal one is scored on.

    All that have a label, whatever their split, which becomes `test`, but what `find_shared`
    leaves out.

    Parameters
    ----------
    label : str
        Column of the external manifest.

    Returns
    -------
    DataFrame
        As `Manifest.images` gives it.
    dict
        `patients` and `images` that are shared, and `left_out_images` and `left_out_groups`.

    Raises
    ------
    InputError
        If there is no label, or nothing is left.
    """
    images = external.images(label).assign(split="test")
    shared = find_shared(external, internal, own_ids=own_ids)
    labelled = images["label"].notna().to_numpy(bool)
    gone = images[labelled & shared.left_out]
    kept = images[labelled & ~shared.left_out].reset_index(drop=True)
    name, theirs = (one.meta.get("dataset") for one in (external, internal))
    if not labelled.any():
        raise InputError(f"Data set {name!r} has no image with a label in column {label!r}.")
    if kept.empty:
        numbers = "" if own_ids else "; or give ids: own, if each numbers its own patients"
        raise InputError(
            f"Every patient of data set {name!r} is in {theirs!r} too, by group ids or equal images"
            f": give another data set{numbers}."
        )
    return kept, {
        "patients": shared.patients,
        "images": shared.images,
        "left_out_images": len(gone),
        "left_out_groups": int(gone["group_id"].nunique()),
    }


def place_sentences(external: Manifest, internal: Manifest, more: Sequence[str] = ()) -> list[str]:
    """Say what columns of scanners and sites have in common, one sentence each.

    Parameters
    ----------
    more : sequence of str
        Columns besides those with a name of `PLACES`, in whatever case.
    """
    names = [str(one.meta.get("dataset")) for one in (external, internal)]
    mine, theirs = (_columns(one.table, more) for one in (external, internal))
    if not mine and not theirs:
        return [
            f"Neither manifest has a column of scanners or sites ({', '.join(PLACES)}): whether "
            "any is shared is not known."
        ]
    said = []
    for column in dict.fromkeys([*mine, *theirs]):
        if column not in mine or column not in theirs:
            lacking = names[0] if column not in mine else names[1]
            said.append(f"{column}: not known of {lacking}, whose manifest has no such column.")
            continue
        both = [value for value in mine[column] if value in theirs[column]]
        alone = [value for value in mine[column] if value not in theirs[column]]
        text = f"{column}: {_listed(both)} in both" if both else f"{column}: no value in both"
        said.append(f"{text}, {_listed(alone)} in {names[0]} alone." if alone else f"{text}.")
    return said


def _columns(table: pd.DataFrame, more: Sequence[str]) -> dict[str, list[str]]:
    """Give the values of columns that say where an image was made, sorted."""
    chosen = [str(n) for n in table if n in more or str(n).lower() in PLACES]
    return {name: sorted(table[name].dropna().astype(str).unique()) for name in chosen}


def _listed(values: Sequence[str]) -> str:
    shown = ", ".join(values[:MOST_VALUES])
    more = len(values) - MOST_VALUES
    return f"{shown} and {more:,} more" if more > 0 else shown

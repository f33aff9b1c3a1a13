"""From images to patients, before a head is trained: one row a patient (docs/patients.md)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frostline.cache import InputError
from frostline.cache.tables.words import counted
from frostline.probe.choices import Pooling
from frostline.probe.embedded import Embedded
from frostline.probe.solver.bags import POOLS, Bags
from frostline.report.statistics.aggregate import IMAGES

# So many groups are named in a sentence.
_NAMED = 3


def to_patients(embedded: Embedded, pooling: Pooling) -> Embedded:
    """Make one row a patient and split: all images of a group in it are one bag.

    Parameters
    ----------
    embedded : Embedded
        Images whose groups `check_patients` has passed.
    pooling : "mean", "max" or "attention"
        X are the mean or the greatest embeddings of each patient; or `Bags`, for a head that takes
        them.

    Returns
    -------
    Embedded
        `images` has `image_id` (the group's name), `group_id`, `split`, `label` (of the images
        that have one) and `images_of_group`, in the order in which patients come first.
    """
    images = embedded.images
    grouped = images.groupby(["group_id", "split"], sort=False)
    number = grouped.ngroup().to_numpy()
    order = np.argsort(number, kind="stable")
    patients = grouped["label"].first().reset_index()
    patients["image_id"] = patients["group_id"]
    patients[IMAGES] = np.bincount(number)
    bags = Bags(embedded.X[order], np.bincount(number).astype(np.intp))
    X = bags if pooling == "attention" else POOLS[pooling](bags)
    members = images.iloc[order].reset_index(drop=True)
    return Embedded(patients, X, embedded.classes, members)


def check_patients(images: pd.DataFrame, name: str) -> None:
    """Refuse images that make no patients of one label and one part.

    Parameters
    ----------
    images : DataFrame
        `group_id`, `split` and `label` (nullable).
    name : str
        Of the data set.

    Raises
    ------
    InputError
        If images of a group differ in their label, or a group is in validation and test.
    """
    groups = images.groupby("group_id", sort=False)
    differing = groups["label"].nunique()
    _refuse(
        list(differing.index[differing > 1]),
        f"have images of several labels in data set {name!r}, and a patient has one: correct them, "
        "name another column by --label, or leave out --level patient.",
    )
    held_out = images[images["split"].isin(["val", "test"])].groupby("group_id", sort=False)
    parts = held_out["split"].nunique()
    _refuse(
        list(parts.index[parts > 1]),
        f"of data set {name!r} are in validation and test: index it again with --resplit, or leave "
        "out --level patient.",
    )


def _refuse(groups: list[str], why: str) -> None:
    if groups:
        more = ", \N{HORIZONTAL ELLIPSIS}" if len(groups) > _NAMED else ""
        names = ", ".join(map(repr, groups[:_NAMED]))
        raise InputError(f"{counted(len(groups), 'group')} ({names}{more}) {why}")

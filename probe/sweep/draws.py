"""Which groups train: nested random draws for label efficiency, and folds for cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.cache import InputError
from frostline.cache.tables.units import units_of
from frostline.cache.tables.words import counted

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Order:
    """The groups of a part in the order in which a draw takes them.

    Attributes
    ----------
    groups : list of str
    least : int
        So many are needed until every class of the part is there.
    """

    groups: list[str]
    least: int


def draw_order(images: pd.DataFrame, part: str, draw: int) -> Order:
    """Order the labelled groups of a part at random, seeded by the number of the draw.

    A training set of s groups is the first s of them, so that sizes nest. The groups that bring the
    classes, rarest class first, each the first of its class in the random order, go to the front,
    so that small sets hold every class. The order depends on the names of the groups, on `draw` and
    on nothing else: it is the same for every backbone.
    """
    mine = images[(images["split"] == part) & images["label"].notna()]
    classes_of: dict[str, set[str]] = {}
    for group, label in zip(mine["group_id"], mine["label"], strict=True):
        classes_of.setdefault(group, set()).add(label)
    shuffled = sorted(classes_of, key=lambda group: _hash(str(draw), group))
    groups_of = {
        label: [group for group in shuffled if label in classes_of[group]]
        for label in sorted(mine["label"].unique())
    }
    first: list[str] = []
    covered: set[str] = set()
    for label in sorted(groups_of, key=lambda name: (len(groups_of[name]), name)):
        if label not in covered:
            first.append(groups_of[label][0])
            covered |= classes_of[groups_of[label][0]]
    # Among themselves in random order, too.
    first.sort(key=shuffled.index)
    chosen = set(first)
    return Order(first + [group for group in shuffled if group not in chosen], len(first))


def drawn_rows(images: pd.DataFrame, chosen: Sequence[str], part: str) -> Index:
    """Find the labelled rows of a part whose group was drawn: int [m]."""
    mask = (images["split"] == part) & images["label"].notna() & images["group_id"].isin(chosen)
    return np.flatnonzero(mask.to_numpy(dtype=bool))


def validation_size(train: Order, val: Order, size: int) -> int:
    """Shrink validation along with train, though not below one group of every class it has."""
    share = round(len(val.groups) * size / len(train.groups))
    return min(max(share, val.least, 1), len(val.groups))


def group_folds(images: pd.DataFrame, count: int, repeat: int, name: str) -> NDArray[np.intp]:
    """Give every row a fold: stratified by label, whole groups, seeded by the repeat; int [n].

    Groups with equal images are in one fold.

    Raises
    ------
    InputError
        If a class has fewer groups than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    groups_of = images.groupby("label")["group_id"].nunique()
    rarest, fewest = str(groups_of.idxmin()), int(groups_of.min())
    if fewest < count:
        raise InputError(
            f"Class {rarest!r} of data set {name!r} has images of {_groups(fewest)}, too few for "
            f"{count} folds: use at most {max(3, fewest)}, or merge classes."
            if fewest >= 3
            else f"Class {rarest!r} of data set {name!r} has images of {_groups(fewest)}: "
            "cross-validation with selection inside needs at least 3; take the class out."
        )
    # Sorted, so that the folds do not depend on the order of rows.
    order = np.argsort(images["image_id"].to_numpy(dtype=str), kind="stable")
    labels = images["label"].to_numpy(dtype=str)[order]
    groups = np.array(units_of(images), dtype=str)[order]
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=repeat)
    fold = np.empty(len(images), np.intp)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels, groups)):
        fold[order[held_out]] = number
    return fold


def _groups(count: int) -> str:
    return counted(count, "group")


def _hash(key: str, name: str) -> bytes:
    return hashlib.blake2b(name.encode(), key=key.encode(), digest_size=16).digest()

"""Rows of a head's run: what it trains on, is selected on, and predicts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from frostline.probe.embedded import Embedded
from frostline.probe.heads.training import Index, Part, pairs
from frostline.probe.sweep.draws import draw_order, drawn_rows, group_folds, validation_size
from frostline.probe.sweep.head_run import HeadRun
from frostline.report.statistics.aggregate import IMAGES


@dataclass(frozen=True)
class TrainingRows:
    """Rows of a head's run.

    Attributes
    ----------
    parts : list of Part
        What candidates are scored on.
    fits : list of int [m]
        What the selected head is fitted to: the final one, then, if it refits, the one before it
        has seen validation images; in a cross-validation the one of every fold.
    predicted : list of int [m]
        What the heads answer for: test, then validation; in a cross-validation every fold.
    groups : int
        Groups that train.
    fraction : float
        The same as a share of all groups of the training part.
    """

    parts: list[Part]
    fits: list[Index]
    predicted: list[Index]
    groups: int
    fraction: float


def training_rows(run: HeadRun, images: pd.DataFrame, known: Embedded) -> TrainingRows:
    """Find the rows of a run.

    Parameters
    ----------
    run : HeadRun
    images : DataFrame
        All images of the data set, from whose groups draws are made.
    known : Embedded
        Those that have an embedding, or their patients: rows are positions in it.
    """
    if run.training.cv:
        return _folds(run.data.dataset, *run.training.cv, known)
    embedded = known.images
    size, draw = run.training.size, run.training.draw
    train, val = (draw_order(images, part, draw) for part in ("train", "val"))
    count = len(train.groups) if size is None else size
    fitted = drawn_rows(embedded, train.groups[:count], "train")
    chosen = drawn_rows(embedded, val.groups[: validation_size(train, val, count)], "val")
    fits = [np.concatenate([fitted, chosen]), fitted] if run.kind.refits else [fitted]
    # Images without a label are predicted, too.
    answered = _of(embedded, "val") if size is None else chosen
    return TrainingRows(
        [Part(fitted, (chosen,))],
        fits,
        [_of(embedded, "test"), answered],
        count,
        count / len(train.groups),
    )


def _folds(name: str, folds: int, repeat: int, known: Embedded) -> TrainingRows:
    images = known.images
    if known.members is None:
        fold = group_folds(images, folds, repeat, name)
    else:
        # Those of the images, so that heads of both levels are trained on the same patients.
        own = group_folds(known.members, folds, repeat, name)
        fold = own[np.cumsum(images[IMAGES].to_numpy()) - 1]
    members = [np.flatnonzero(fold == number) for number in range(folds)]
    others = [np.flatnonzero(fold != number) for number in range(folds)]
    parts = [
        Part(np.flatnonzero((fold != a) & (fold != b)), (members[a], members[b]))
        for a, b in pairs(folds)
    ]
    return TrainingRows(parts, others, members, images["group_id"].nunique(), 1.0)


def _of(images: pd.DataFrame, split: str) -> Index:
    return np.flatnonzero((images["split"] == split).to_numpy(dtype=bool))

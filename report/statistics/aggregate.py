"""From images to patients: one prediction a group, before anything is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.choices import Aggregate

AGGREGATES = get_args(Aggregate)
SLICE_MARK = "#z="
IMAGES = "images_of_group"
OF_PATIENTS = Note(
    "One row a patient, by a head that answers for all images of a patient together "
    "(`--level patient`)."
)


def aggregate_predictions(predictions: Predictions, how: str = "auto") -> Predictions:
    """Make one row a group: the mean of its probabilities, or the class most of its images got.

    Parameters
    ----------
    how : "auto", "mean", "vote" or "none"
        `auto` is `mean` for slices of volumes (image ids with `#z=`), so that the patient is
        scored first, and `none` for all else. A tie of votes goes to the class that the mean
        probability prefers, without probabilities to the first by name.

    Returns
    -------
    Predictions
        `image_id` is the group's; the column `images_of_group` counts the images of a row.

    Raises
    ------
    InputError
        If the file has no groups, the images of a group differ in label or split, or `mean` is
        asked of a file without probabilities.
    """
    if how not in AGGREGATES:
        raise InputError(f"There is no aggregate {how!r}: choose from {', '.join(AGGREGATES)}.")
    if predictions.meta.get("level") == "patient":
        return replace(predictions, notes=(*predictions.notes, OF_PATIENTS))
    table, name = predictions.table, predictions.run
    known = bool(table["group_id"].notna().any())
    if how == "auto":
        how, notes = _choose(predictions)
        predictions = replace(predictions, notes=(*predictions.notes, *notes))
    if how == "none":
        return predictions
    if not known:
        raise InputError(
            f"{name}: there is no group_id, so nothing to aggregate by: use --aggregate none."
        )
    for column in ("label", "split"):
        differing = table.groupby("group_id", sort=False)[column].nunique()
        if (differing > 1).any():
            group = differing.index[differing > 1][0]
            raise InputError(
                f"{name}: the images of group {group!r} differ in {column}: correct them or use "
                "--aggregate none."
            )
    # By name, so that no answer depends on the order of the classes.
    classes = sorted(predictions.classes)
    columns = [f"prob_{label}" for label in classes]
    probs = set(columns) <= set(table.columns)
    if how == "mean" and not probs:
        raise InputError(f"{name}: there are no probabilities to average: use --aggregate vote.")
    rows = _merge(table, classes, columns if probs else [], how)
    words = {"mean": "the mean of its images' probabilities", "vote": "a vote of its images"}[how]
    # Shares of votes are no probabilities.
    left = ", which leaves no probabilities" * (probs and how == "vote")
    note = Note(f"One row a group, by {words}{left}.")
    return replace(predictions, table=rows, notes=(*predictions.notes, note))


def scores_groups(images: pd.DataFrame) -> tuple[bool, Notes]:
    """Decide whether `auto` scores groups, not images, and what to say about it.

    Groups are scored where images are slices of volumes and no group has two labels. Whoever scores
    images goes by this, so that what chooses is scored as what is reported.

    Parameters
    ----------
    images : DataFrame
        Those that are scored: `image_id`, `group_id` and `label`.
    """
    slices = images["image_id"].str.contains(SLICE_MARK, regex=False).fillna(False)
    if not (slices.any() and images["group_id"].notna().any()):
        return False, ()
    if (images.groupby("group_id")["label"].nunique() > 1).any():
        note = "Slices of a group differ in their label, so slices are scored, not patients."
        return False, (Note(note),)
    return True, ()


def _choose(predictions: Predictions) -> tuple[str, Notes]:
    """Decide what `auto` is for these predictions, and what to say about it."""
    groups, notes = scores_groups(predictions.table)
    if not groups:
        return "none", notes
    probs = all(f"prob_{label}" in predictions.table for label in predictions.classes)
    return "mean" if probs else "vote", ()


def _merge(table: pd.DataFrame, classes: list[str], probs: list[str], how: str) -> pd.DataFrame:
    grouped = table.groupby("group_id", sort=True)
    rows = grouped[["split", "label"]].first()
    mean = grouped[probs].mean().to_numpy() if probs else np.zeros((len(rows), len(classes)))
    counts = pd.crosstab(table["group_id"], table["prediction"])
    votes = counts.reindex(index=rows.index, columns=classes, fill_value=0).to_numpy()
    best = mean if how == "mean" else votes + mean / 2
    rows["prediction"] = pd.array([classes[i] for i in best.argmax(1)], dtype="string")
    rows[IMAGES] = grouped.size()
    if how == "mean":
        rows[probs] = mean
    rows = rows.reset_index()
    return rows.assign(image_id=rows["group_id"])

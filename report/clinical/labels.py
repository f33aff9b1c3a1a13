"""Labels that are probably wrong, by confident learning on held-out predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.report.predictions import Predictions, read_predictions
from frostline.report.statistics.names import OUT_OF_FOLD

HELD_OUT = ("val", "test")
LABEL_COLUMNS = (
    *("rank", "image_id", "group_id", "split", "label", "looks_like"),
    *("self_confidence", "score", "suspicious"),
)
NEEDED = "Label errors need cleanlab: run `pip install 'frostline[labels]'`."


def label_errors(predictions: Sequence[Predictions | Path | str]) -> pd.DataFrame:
    """Rank images by how probably their label is wrong.

    Confident learning (Northcutt, Jiang and Chuang 2021, "Confident learning: estimating
    uncertainty in dataset labels", equations 1 and 2), computed by cleanlab: the threshold of a
    class is the mean of its probability over the images with that label; an image is suspicious if
    the probability of another class reaches that class's threshold (of several the most probable
    counts) and its own label is not the most probable one.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        Of one data set, with probabilities. Only images that the model had not seen are ranked:
        all of a cross-validation (a column `fold`), else those of `val` and `test`. The
        probabilities of an image in several files are averaged.

    Returns
    -------
    DataFrame
        Columns `LABEL_COLUMNS`, one row an image, the most suspicious first: `looks_like` is the
        most probable class, `self_confidence` the probability of the label, `score` the normalised
        margin, (1 + probability of the label - greatest of the others) / 2, from 0 (surely wrong)
        to 1. `attrs` has `ranked`, a sentence on which images these are, and `estimated`, the
        number of wrong labels by the confident joint calibrated to the counts of labels (section
        3.2 there).

    Raises
    ------
    InputError
        If no row was held out, there are no probabilities or names of images, files contradict
        each other, all labels are equal, or cleanlab is not installed.
    """
    runs = [one if isinstance(one, Predictions) else read_predictions(one) for one in predictions]
    if not runs:
        raise InputError("There are no predictions to find label errors in: give at least one.")
    classes = _common_classes(runs)
    images, probs = _averaged(runs, classes)
    codes = pd.Categorical(images["label"].astype(object), categories=classes).codes.astype(int)
    if len(set(codes)) == 1:
        raise InputError(
            f"Every label of {runs[0].run} is {classes[codes[0]]!r}: errors are found between at "
            "least two classes."
        )
    suspicious, scores, estimated = _confident_learning(codes, probs)
    found = images.assign(
        looks_like=np.asarray(classes, dtype=object)[probs.argmax(axis=1)],
        self_confidence=probs[np.arange(len(codes)), codes],
        score=scores,
        suspicious=suspicious,
    ).astype({"looks_like": "string"})
    order = ["suspicious", "score", "image_id"]
    found = found.sort_values(order, ascending=[False, True, True], ignore_index=True)
    found = found.assign(rank=np.arange(1, len(found) + 1))[list(LABEL_COLUMNS)]
    found.attrs = {"ranked": _which(found, runs), "estimated": estimated}
    return found


def suspicious_sentence(found: pd.DataFrame) -> str:
    """Say how many labels are suspicious, and that this is no verdict."""
    count, estimated = int(found["suspicious"].sum()), found.attrs["estimated"]
    are = "is" if count == 1 else "are"
    return (
        f"{count:,} of {counted(len(found), 'label')} {are} suspicious: candidates to look at, not "
        f"errors. The confident joint estimates {counted(estimated, 'wrong label')}."
    )


def _confident_learning(
    codes: npt.NDArray[np.int_], probs: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64], int]:
    try:
        from cleanlab.count import num_label_issues
        from cleanlab.filter import find_label_issues
        from cleanlab.rank import get_label_quality_scores
    except ImportError as error:
        raise InputError(NEEDED) from error
    suspicious = find_label_issues(codes, probs, filter_by="confident_learning", n_jobs=1)
    scores = get_label_quality_scores(codes, probs, method="normalized_margin")
    estimated = num_label_issues(codes, probs, estimation_method="off_diagonal_calibrated")
    return suspicious, scores, int(estimated)


def _common_classes(runs: Sequence[Predictions]) -> list[str]:
    """Check that the runs can be averaged, and give their classes in the first one's order."""
    first = runs[0]
    for run in runs:
        if run.meta.get("dataset") != first.meta.get("dataset"):
            raise InputError(
                f"{first.run} and {run.run} are of different data sets: rank one at a time."
            )
        if set(run.classes) != set(first.classes):
            raise InputError(f"{first.run} and {run.run} have different classes: rank one alone.")
        if f"prob_{run.classes[0]}" not in run.table:
            raise InputError(
                f"{run.run} has no probabilities, which label errors are found by: give prob_ "
                "columns, or another head."
            )
    return first.classes


def _averaged(
    runs: Sequence[Predictions], classes: Sequence[str]
) -> tuple[pd.DataFrame, npt.NDArray[np.float64]]:
    """Give the held-out images in the order of their names, and their mean probabilities."""
    columns = [f"prob_{name}" for name in classes]
    rows = pd.concat([_held_out(run) for run in runs], ignore_index=True)
    for column, what in (("label", "labels"), ("group_id", "groups")):
        differ = rows.groupby("image_id")[column].nunique() > 1
        if differ.any():
            raise InputError(
                f"The files give image {differ.idxmax()!r} different {what}: they were made from "
                "different states of the data set; make them again."
            )
    by_image = rows.groupby("image_id", sort=True)
    images = by_image[["group_id", "split", "label"]].first().reset_index()
    return images, by_image[columns].mean().to_numpy(dtype=np.float64)


def _held_out(run: Predictions) -> pd.DataFrame:
    """Take the labelled rows whose images the model had not seen."""
    table = run.table
    if table["image_id"].isna().any():
        raise InputError(f"{run.run} does not name its images: give a column image_id.")
    if "fold" in table:
        table = table.assign(split=OUT_OF_FOLD)[table["fold"].notna()]
    elif table["split"].isna().all():
        raise InputError(
            f"{run.run} does not say which images were held out, and labels that a model trained "
            "on look right to it: give a column fold (of a cross-validation) or split."
        )
    else:
        table = table[table["split"].isin(HELD_OUT)]
        if table.empty:
            raise InputError(
                f"{run.run} predicts only images that it trained on, whose labels look right to "
                "it: give the files of a cross-validation (`frostline sweep --cv 5x1`)."
            )
    table = table[table["label"].notna()]
    if table.empty:
        raise InputError(f"{run.run} has no label in a held-out row: add labels.")
    return table


def _which(found: pd.DataFrame, runs: Sequence[Any]) -> str:
    """Say which images were ranked, and by how many files."""
    counts = found["split"].value_counts()
    parts = [
        f"{counts[split]:,} {'predicted out of fold' if split == OUT_OF_FOLD else f'of {split}'}"
        for split in (OUT_OF_FOLD, *HELD_OUT)
        if split in counts
    ]
    mean = f", by the mean of {len(runs)} files" if len(runs) > 1 else ""
    alone = "" if OUT_OF_FOLD in counts else "; images for training were not"
    return f"Ranked were {counted(len(found), 'image')}: {' and '.join(parts)}{mean}{alone}."

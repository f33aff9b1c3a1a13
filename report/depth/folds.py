"""Depth chosen inside a cross-validation, and the predictions of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frostline.report.depth.choice import Floats, choose_depth, known_errors
from frostline.report.depth.curve import Point, Validation
from frostline.report.predictions import Predictions
from frostline.report.statistics.metrics import find_metric
from frostline.report.statistics.seeds import pool_folds

CHOSEN_FEATURE = "chosen depth"


def choose_by_folds(inner: Floats, costs: Floats, *, higher: bool, least: float = 0.0) -> list[int]:
    """Choose a depth for each fold by scores that have not seen it.

    Parameters
    ----------
    inner : float64 [D, F, F - 1]
        Of each depth and fold: scores on the other folds of what trained without both.
    costs : float64 [D]
    higher : bool
        Whether a higher score is better.
    least : float
        As in `mean_scores`.

    Returns
    -------
    list of int [F]
    """
    found = []
    for fold in range(inner.shape[1]):
        scores, errors = mean_scores(inner[:, fold], inner.shape[1], least)
        place = choose_depth(scores, errors, costs, higher=higher)
        found.append(len(costs) - 1 if place is None else place)
    return found


def mean_scores(scores: Floats, folds: int, least: float = 0.0) -> tuple[Floats, Floats]:
    """Average inner scores of a cross-validation, and give their standard error: float64 [D] each.

    The error is Nadeau and Bengio's (2003), of heads that trained on all folds but two.

    Parameters
    ----------
    scores : float64 [D, J]
        Of one outer fold or of all, of one repeat or of several.
    least : float
        The error of scores that do not vary.
    """
    errors = [pool_folds(one, 1 / (folds - 1)).seed_error for one in scores]
    return np.asarray(scores.mean(1)), np.where(np.array(errors) < 1e-9, least, errors)


def chosen_run(runs: Sequence[Predictions], places: Sequence[int]) -> Predictions:
    """Put the predictions of one repeat together: of each fold those of its chosen depth.

    Parameters
    ----------
    runs : sequence of Predictions [D]
        Out-of-fold predictions of each depth, with the column `fold`.
    places : sequence of int [F]
        The depth of each fold.
    """
    parts = [runs[place].table.query("fold == @fold") for fold, place in enumerate(places)]
    table = pd.concat(parts).sort_values("image_id").reset_index(drop=True)
    meta = dict(runs[0].meta)
    meta |= {"run": f"{meta['run']}-chosen", "feature": CHOSEN_FEATURE, "depths": list(places)}
    return Predictions(table, meta)


def training_validation(runs: Sequence[Predictions], metric: str) -> Validation | None:
    """Average what the folds of a training scored on their validation parts; None without folds.

    Parameters
    ----------
    runs : sequence of Predictions
        One for each repeat; of each fold their metadata say the scores.
    metric : str
    """
    scores = _fold_scores(runs, metric)
    if scores is None:
        return None
    units = int(runs[0].table["group_id"].nunique())
    least = float(known_errors(np.zeros(1), units, metric)[0])
    means, errors = mean_scores(scores.reshape(1, -1), scores.shape[1], least)
    return Validation(float(means[0]), float(errors[0]), units)


def nested_training(points: Sequence[Point], metric: str) -> list[Predictions]:
    """Repeat the choice of a depth of training in every fold: predictions of each repeat.

    A fold has one validation part, whose score has no standard error that is known: the best score
    counts, and of equal ones the training that took less time. Nothing of one depth.

    Parameters
    ----------
    points : sequence of Point
        Of the road of training.
    """
    scores = [_fold_scores(point.runs, metric) for point in points]
    if len(points) < 2 or any(one is None for one in scores):
        return []
    higher, found = find_metric(metric).higher, []
    for repeat, runs in enumerate(zip(*(point.runs for point in points), strict=True)):
        inner = np.array([one[repeat] for one in scores if one is not None])
        costs = np.array([float(run.meta["seconds"] or np.inf) for run in runs])
        places = [
            choose_depth(inner[:, fold], np.zeros(len(inner)), costs, higher=higher)
            for fold in range(inner.shape[1])
        ]
        found.append(chosen_run(runs, [one or 0 for one in places]))
    return found


def _fold_scores(runs: Sequence[Predictions], metric: str) -> Floats | None:
    """Read the validation scores of a training's folds [R, F] from the metadata of its repeats."""
    said = [
        [fold["validation"].get(metric) for fold in run.meta.get("folds") or []] for run in runs
    ]
    if any(not one or None in one for one in said):
        return None
    return np.array(said, dtype=float)

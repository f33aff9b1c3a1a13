"""Depth chosen inside a cross-validation, and the predictions of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frostline.report.depth.choice import Floats, best_place, choose_depth, fold_errors
from frostline.report.depth.curve import Point, Validation
from frostline.report.predictions import Predictions
from frostline.report.statistics.metrics import find_metric

CHOSEN_FEATURE = "chosen depth"


def choose_by_folds(inner: Floats, costs: Floats, *, higher: bool) -> list[int]:
    """Choose a depth for each fold by scores that have not seen it; the last one without scores.

    Parameters
    ----------
    inner : float64 [D, F, F - 1]
        Of each depth and fold: scores on the other folds of what trained without both.
    costs : float64 [D]
    higher : bool
        Whether a higher score is better.

    Returns
    -------
    list of int [F]
    """
    return [_choose(inner[:, fold], costs, higher=higher) for fold in range(inner.shape[1])]


def _choose(scores: Floats, costs: Floats, *, higher: bool) -> int:
    """Choose a depth by scores [D, F - 1] of one fold."""
    means = scores.mean(1)
    best = best_place(means, higher=higher)
    if best is None:
        return len(costs) - 1
    errors = fold_errors(scores, best, scores.shape[1] + 1)
    place = choose_depth(means, errors, costs, higher=higher)
    assert place is not None  # there is a best one
    return place


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
    """Collect what the folds of a training scored on their validation parts; None without folds.

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
    return Validation(scores.ravel().tolist(), scores.shape[1], units)


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

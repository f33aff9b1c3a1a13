"""Depth chosen inside a cross-validation, and the predictions of what was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frostline.report.depth.choice import Floats, choose_depth
from frostline.report.predictions import Predictions
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

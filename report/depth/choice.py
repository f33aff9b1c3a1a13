"""Which depth validation chooses: the one-standard-error rule."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import find_metric

Floats = npt.NDArray[np.float64]


def known_errors(errors: Floats, rows: int, metric: str) -> Floats:
    """Give a score in which nothing varies, as where all are right, the error of one wrong row.

    Errors of 0 come from images that are too few to show one: all of 33 right is no more certain
    than 32. With one of n wrong the jackknife's standard error of a mean is 1/n.

    Parameters
    ----------
    errors : float64 [D]
        Standard errors.
    rows : int
        How many images, or patients where they are scored, the score is of.
    metric : str
    """
    if find_metric(metric).bounds is None:
        return errors
    return np.where(errors < 1e-9, 1 / rows, errors)


def within_one_error(scores: Floats, errors: Floats, *, higher: bool) -> npt.NDArray[np.bool_]:
    """Find the depths whose score is within one standard error of the best: bool [D].

    The error is that of the best one's score (Breiman, Friedman, Olshen and Stone 1984, section
    3.4.3). A best score whose error is unknown, as of one patient, is alone with those that equal
    it.

    Parameters
    ----------
    scores, errors : float64 [D]
        Of each depth on validation, and the standard error of that; NaN where there is none.
    higher : bool
        Whether a higher score is better.
    """
    known = np.isfinite(scores)
    if not known.any():
        return known
    lost = np.where(known, -scores if higher else scores, np.inf)
    best = int(lost.argmin())
    error = errors[best] if np.isfinite(errors[best]) else 0.0
    # Equal shares may round apart.
    return np.asarray(known & (lost <= lost[best] + error + 1e-12))


def choose_depth(scores: Floats, errors: Floats, costs: Floats, *, higher: bool) -> int | None:
    """Choose the cheapest of those within one standard error of the best; None without scores.

    Of equal costs the better score counts, of equal scores the first. An unknown cost is
    higher than any other.

    Parameters
    ----------
    scores, errors, higher
        As in `within_one_error`.
    costs : float64 [D]
        What a depth costs.
    """
    within = np.flatnonzero(within_one_error(scores, errors, higher=higher))
    if not len(within):
        return None
    cost = np.nan_to_num(costs[within], nan=np.inf)
    lost = -scores[within] if higher else scores[within]
    return int(within[np.lexsort((lost, cost))[0]])

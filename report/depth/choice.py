"""Which depth validation chooses: the one-standard-error rule, of differences."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.seeds import pool_folds

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def best_place(scores: Floats, *, higher: bool) -> int | None:
    """Find the best of some scores [D], the first of equal ones; None if all are NaN."""
    if not np.isfinite(scores).any():
        return None
    return int(np.nanargmax(scores) if higher else np.nanargmin(scores))


def fold_errors(scores: Floats, best: int, folds: int) -> Floats:
    """Give the standard error of each depth's difference from the best one over folds: [D].

    Nadeau and Bengio's (2003), of heads and networks that trained on all folds but two: the one
    that scores them here, and the one they are tested on.

    Parameters
    ----------
    scores : float64 [D, J]
        Of each depth on the same J folds, of one repeat or of several.
    best : int
        The depth that is compared with.
    folds : int
        How many there are in a repeat.
    """
    return np.array([pool_folds(one, 1 / (folds - 1)).seed_error for one in scores - scores[best]])


def within_one_error(scores: Floats, errors: Floats, *, higher: bool) -> Bools:
    """Find the depths that are within one standard error of the best: bool [D].

    The rule is Breiman, Friedman, Olshen and Stone's (1984, section 3.4.3), with the standard error
    of the difference, as all depths are scored on the same images (Yates, Richards and Brook 2021).

    Parameters
    ----------
    scores : float64 [D]
        Of each depth on validation; NaN where there is none.
    errors : float64 [D]
        Standard error of each one's difference from the best. Where it is unknown (NaN), only what
        equals the best is within.
    higher : bool
        Whether a higher score is better.
    """
    best = best_place(scores, higher=higher)
    if best is None:
        return np.zeros(len(scores), dtype=bool)
    behind = np.abs(scores - scores[best])
    # Equal shares may round apart.
    return np.asarray(behind <= np.nan_to_num(errors) + 1e-12)


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

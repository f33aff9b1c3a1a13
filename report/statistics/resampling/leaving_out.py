"""A metric of probabilities with each unit left out, without scoring the rest again and again.

Throughout, `member` is the unit of each row, int64 [n], and `units` their number G.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyder, polyval2d

from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.scores import (
    NEWTON_STEPS,
    SMALL_STEP,
    OneClass,
    Scores,
    calibration_fit,
    logit_of,
    nothing_to_fit,
)

# Of the series of the logistic function: (REACH / π) to the power of TERMS is nothing.
TERMS, REACH = 20, 0.5


def leave_out_average_precision(scores: Scores, member: Codes, units: int) -> Array:
    """Compute average precision with each unit left out: [G]; NaN where no row is left."""
    parts = [_one_class(one, member, units) for one in scores.columns]
    some_left = np.bincount(member, minlength=units) < len(member)
    return np.where(some_left, np.mean(parts, axis=0), np.nan)


def _one_class(one: OneClass, member: Codes, units: int) -> Array:
    """Leave out each unit of one class against the rest: [G].

    Average precision is the mean over positives of t / (t + f), of t positives and f negatives that
    score no lower. Without a unit, t and f are less by what the unit has there: the same numbers
    for all positives between two rows of it. Sums over such a range are differences of a running
    sum, one for each pair of numbers.
    """
    positives, negatives = len(one.positive), len(one.negative)
    if not positives:
        return np.zeros(units)
    # Of positives from the highest score down; those of equal scores share their numbers.
    ties = np.diff(one.first, append=positives)
    true = np.repeat(positives - one.first, ties)[::-1]
    false = (negatives - one.lower)[::-1]
    # How many positives score above a row.
    above = np.r_[
        positives - np.repeat(one.first + ties, ties),
        positives - np.searchsorted(one.lower, np.arange(negatives), "right"),
    ]
    owner = member[np.r_[one.positive, one.negative]]
    right = np.repeat([1, 0], [positives, negatives])
    order = np.lexsort((above, owner))
    above, owner, right = above[order], owner[order], right[order]
    # A range of positives begins behind the last of a unit's rows that no positive is between.
    last = np.r_[(np.diff(above) != 0) | (np.diff(owner) != 0), True]
    taken_true, taken_false = (_within(count, owner, units)[last] for count in (right, 1 - right))
    start, owner = above[last], owner[last]
    begins = np.r_[True, np.diff(owner) != 0]
    end = np.where(np.r_[begins[1:], True], positives, np.r_[start[1:], positives])
    # Its first positives are the unit's own, so many.
    own = taken_true - np.where(begins, 0, np.r_[0, taken_true[:-1]])
    sums = np.zeros(len(start))
    for places in _alike(taken_true * (negatives + 1) + taken_false):
        low, high = start[places].min(), end[places].max()
        t = true[low:high] - taken_true[places[0]]
        f = false[low:high] - taken_false[places[0]]
        terms = np.divide(t, t + f, out=np.zeros(len(t)), where=(t > 0) & (t + f > 0))
        running, terms = np.r_[0.0, np.cumsum(terms)], np.r_[terms, 0.0]
        sums[places] = running[end[places] - low] - running[start[places] - low]
        sums[places] -= own[places] * terms[start[places] - low]
    before = np.r_[0.0, np.cumsum(true / (true + false))][start[begins]]
    whole = np.bincount(owner, sums, units)
    whole[owner[begins]] += before
    rest = positives - np.bincount(member[one.positive], minlength=units)
    return np.divide(whole, rest, out=np.zeros(units), where=rest > 0)


def leave_out_slope(scores: Scores, member: Codes, units: int) -> Array:
    """Compute the calibration slope with each unit left out: [G]; NaN where it was not found.

    Newton's steps for all units at once, about the fit of all rows: the gradient over all rows is
    `_gradient_series`, that of a unit is taken off. A unit that moves the fit by more than `REACH`,
    or has none, is left to the caller.
    """
    from scipy.special import expit

    confidence, outcome = scores.called
    logit = logit_of(confidence)
    (slope,), (intercept,) = calibration_fit(scores, np.ones((len(member), 1)))
    width = float(np.ptp(logit)) / 2
    if np.isnan(slope) or not width > 0:
        return np.full(units, np.nan)
    side = (logit - logit.min()) / width - 1
    fitted = intercept + slope * logit
    first, second = _gradient_series(fitted, side)
    curved = polyder(first, axis=0), polyder(first, axis=1), polyder(second, axis=1)
    wanted = [(outcome * side**p).sum() - _sums(member, outcome * side**p, units) for p in (0, 1)]
    shift = np.zeros((2, units))

    def at(series: npt.NDArray[np.floating]) -> Array:
        return np.asarray(polyval2d(shift[0], shift[1], series), dtype=np.float64)

    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            own = expit(fitted + shift[0][member] + shift[1][member] * side)
            u, v = (
                wanted[p] - at(one) + _sums(member, own * side**p, units)
                for p, one in enumerate((first, second))
            )
            a, b, c = (
                at(one) - _sums(member, own * (1 - own) * side**p, units)
                for p, one in enumerate(curved)
            )
            det = a * c - b * b
            step = np.stack([(c * u - b * v) / det, (a * v - b * u) / det])
            # Further out the series would run off.
            shift = np.clip(shift + step, -2 * REACH, 2 * REACH)
            near = (np.abs(step).sum(0) < SMALL_STEP) & (np.abs(shift).sum(0) <= REACH)
            if near.all():
                break
    rest = np.maximum(len(member) - np.bincount(member, minlength=units), 1)
    without = [(one.sum() - _sums(member, one, units)) / rest for one in (outcome, logit, logit**2)]
    return np.where(near & ~nothing_to_fit(*without), slope + shift[1] / width, np.nan)


def _gradient_series(fitted: Array, side: Array) -> list[Array]:
    """Expand Σ p(x) and Σ p(x) s over rows about their fit, p(x) being the logistic of the logit x.

    In the powers of two shifts of x = `fitted`, by α + β s with s = `side` from -1 to 1: of each a
    table [TERMS, TERMS], α down and β across. The radius of the logistic function's series is π or
    more, so that what is left out is below (REACH / π) to the power of `TERMS`.
    """
    from scipy.special import comb, expit

    # p' = p - p², term by term.
    terms = [expit(fitted)]
    for j in range(TERMS - 1):
        square = sum(terms[i] * terms[j - i] for i in range(j + 1))
        terms.append((terms[j] - square) / (j + 1))
    moments = np.stack(terms) @ (side ** np.arange(TERMS + 1)[:, None]).T
    down, across = np.indices((TERMS, TERMS))
    inside = down + across < TERMS
    place = np.where(inside, down + across, 0)
    counts = np.where(inside, comb(down + across, down), 0.0)
    return [counts * moments[place, across + p] for p in (0, 1)]


def _sums(member: Codes, values: Array, units: int) -> Array:
    return np.asarray(np.bincount(member, values, units), dtype=np.float64)


def _within(count: Codes, owner: Codes, units: int) -> Codes:
    """Add up within each unit, whose rows follow one another: [n]."""
    totals = np.bincount(owner, count, units).astype(np.int64)
    return np.cumsum(count) - (np.cumsum(totals) - totals)[owner]


def _alike(values: Codes) -> list[Codes]:
    """Give the places of each value."""
    order = np.argsort(values, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(values[order])) + 1)

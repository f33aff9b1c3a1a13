"""Find columns that tell the class by themselves, such as a label that came in with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

TELLING = 0.99  # of a class and of the others, each weighing a half
FEWEST_IMAGES, FEWEST_OF_A_CLASS = 20, 5  # of fewer, noise separates some column by chance
MOST_IMAGES = 2_000
COLUMNS_AT_ONCE = 64


def telling_columns(X: npt.NDArray[np.floating], labels: Sequence[str | None]) -> dict[int, float]:
    """Give the columns by which alone the class is known, and how well.

    Those in which the values of every class are an interval, but for 1%: by it, the mean of the
    share of the class that is inside and the share of the others that is outside is above 0.99.
    With fewer than 20 labelled images, or but one class of 5, nothing can be said.

    Parameters
    ----------
    X : float [n, dim]
    labels : sequence of n str
        None where not known.

    Returns
    -------
    dict of int to float
        That mean for the class that is known the least, by place of the column.
    """
    y = pd.Series(list(labels), dtype=object)
    counts = y.value_counts()
    rows = np.flatnonzero(y.isin(counts.index[counts >= FEWEST_OF_A_CLASS]))
    if len(rows) > MOST_IMAGES:
        rows = np.sort(np.random.default_rng(0).choice(rows, MOST_IMAGES, replace=False))
    codes, classes = pd.factorize(y.iloc[rows])
    if len(rows) < FEWEST_IMAGES or len(classes) < 2:
        return {}
    found: dict[int, float] = {}
    for start in range(0, X.shape[1], COLUMNS_AT_ONCE):
        shares = _least_known(X[rows, start : start + COLUMNS_AT_ONCE], codes, len(classes))
        told = np.flatnonzero(shares > TELLING)
        found |= {start + int(place): float(shares[place]) for place in told}
    return found


def _least_known(
    X: npt.NDArray[np.floating], codes: npt.NDArray[np.intp], n_classes: int
) -> npt.NDArray[np.float64]:
    """Score by the best interval for each class, and give the worst class of each column: [dim]."""
    order = np.argsort(X, axis=0, kind="stable")
    values, sorted_codes = np.take_along_axis(X, order, axis=0), codes[order]
    # An interval begins and ends between different values.
    between = np.ones(X.shape, bool)
    between[:-1] = values[1:] != values[:-1]
    worst = np.ones(X.shape[1])
    for code in range(n_classes):
        mine = sorted_codes == code
        count = int(mine[:, 0].sum())
        gain = np.where(mine, 1 / count, -1 / (len(codes) - count)).cumsum(axis=0)
        least = np.minimum.accumulate(np.where(between, gain, np.inf), axis=0)
        before = np.minimum(0, np.concatenate([np.zeros((1, X.shape[1])), least[:-1]]))
        best = np.where(between, gain - before, 0).max(axis=0)
        worst = np.minimum(worst, (1 + best) / 2)
    return worst

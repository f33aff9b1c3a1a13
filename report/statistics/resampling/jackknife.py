"""What is left of a metric without each unit, as contributions of units."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array


def pseudo_contributions(
    left: Array, weights: Array, counts: npt.NDArray[np.int64]
) -> tuple[Array, Array]:
    """Give residuals and weights of units: pseudo-values (Tukey 1958), centred, of average weight.

    The squares of residuals over that of the sum of weights are the delete-one-group variance but
    for its factor G / (G - 1) (Efron and Tibshirani 1993, equation 11.5).

    Parameters
    ----------
    left : float64 [U, ...]
        The value without one unit of each kind; NaN where it is undefined.
    weights : float64 [U, ...]
        How much rests on a unit of each kind: they are scaled to sum to the number of units.
    counts : int64 [U]
        How many units are of each kind.
    """
    units = int(counts.sum())
    pseudo = -(units - 1) * left
    total = np.tensordot(counts, weights, axes=1)
    # Of a class that no unit is of, nothing rests on any.
    scale = units / np.where(total > 0, total, np.inf)
    return np.asarray(pseudo - np.tensordot(counts, pseudo, axes=1) / units), weights * scale

"""Standard errors of leaving out one group, and sums of variances with their degrees of freedom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array


def jackknife_error(left: Array, counts: npt.NDArray[np.int64]) -> float:
    """Compute the delete-one-group standard error.

    Tukey (1958); Efron and Tibshirani (1993), equation 11.5.

    Parameters
    ----------
    left : float64 [U]
        The value without one unit of each kind.
    counts : int64 [U]
        How many units are of each kind.
    """
    units = int(counts.sum())
    mean = float(left @ counts) / units
    return float(np.sqrt((units - 1) / units * (counts @ (left - mean) ** 2)))


def satterthwaite(variances: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """Sum variances, with the degrees of freedom (Σ v)² / Σ v² / (n - 1) of Satterthwaite (1946).

    `sizes` are the numbers of units or seeds that each variance was taken from. NaN where nothing
    varies.
    """
    total = sum(variances)
    parts = sum(v**2 / max(n - 1, 1) for v, n in zip(variances, sizes, strict=True))
    return float(total), float(total**2 / parts) if parts > 0 else float("nan")

"""Bounds of 95% intervals, from bootstrap replicates or from values with one unit left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import LOSSES, Array, find_metric
from frostline.report.statistics.resampling.jackknife import jackknife_error

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# More undefined replicates than this, and the rest no longer stand for the whole.
MOST_UNDEFINED = 0.01
UNVARYING = "Leaving out any unit changes nothing, so the interval has no width."


def percentile_bounds(values: Array) -> tuple[float, float, str]:
    """Take the central 95% of replicates [B], with a sentence on undefined ones."""
    undefined = int(np.isnan(values).sum())
    share = undefined / len(values)
    if share > MOST_UNDEFINED:
        return float("nan"), float("nan"), f"No interval: undefined in {share:.1%} of replicates."
    bounds: npt.NDArray[np.float64] = np.nanquantile(values, [TAIL, 1 - TAIL])
    note = f"Undefined in {undefined} of {len(values)} replicates." if undefined else ""
    return float(bounds[0]), float(bounds[1]), note


def jackknife_scale(name: str) -> tuple[float, float] | None:
    """Give a metric's lowest and highest value, infinite for losses; None where it has neither."""
    return (0.0, np.inf) if name in LOSSES else find_metric(name).bounds


def jackknife_bounds(
    centre: float, left: Array, counts: npt.NDArray[np.int64], bounds: tuple[float, float] | None
) -> tuple[float, float, str]:
    """Give low, high and what to note, from leave-one-out values and how many have each."""
    from scipy.special import stdtrit

    units = int(counts.sum())
    nothing = float("nan"), float("nan")
    if units < 2:
        return *nothing, "No interval: one unit alone shows no variation."
    if np.isnan(left).any() or np.isnan(centre):
        return *nothing, "No interval: undefined when one unit is left out."
    if bounds is not None and centre in bounds:
        return *nothing, "No interval: the estimate is at its bound."
    error = jackknife_error(left, counts)
    if error == 0:
        return centre, centre, UNVARYING
    reach = float(stdtrit(units - 1, 1 - TAIL)) * error
    if bounds is None:
        return centre - reach, centre + reach, ""
    if np.isinf(bounds[1]):
        return centre * np.exp(-reach / centre), centre * np.exp(reach / centre), ""
    width = bounds[1] - bounds[0]
    share = (centre - bounds[0]) / width
    logit, reach = np.log(share / (1 - share)), reach / width / (share * (1 - share))
    low, high = (bounds[0] + width / (1 + np.exp(-(logit + side * reach))) for side in (-1, 1))
    return float(low), float(high), ""


def bca_bounds(
    values: Array, centre: float, left: Array, counts: npt.NDArray[np.int64], note: str
) -> tuple[float, float, str]:
    from scipy.special import ndtr, ndtri

    nothing = float("nan"), float("nan")
    if np.isnan(left).any():
        return *nothing, "No interval: undefined when one unit is left out."
    values = values[~np.isnan(values)]
    # Replicates equal the estimate up to rounding, and those are ties.
    near = np.isclose(values, centre, rtol=0, atol=1e-12)
    below = ((values < centre) & ~near).mean() + near.mean() / 2
    apart = (left @ counts) / counts.sum() - left
    spread = counts @ apart**2
    if spread == 0 or not 0 < below < 1:
        return *nothing, "No interval: the replicates do not vary about the estimate."
    bias = ndtri(below)
    acceleration = (counts @ apart**3) / (6 * spread**1.5)
    reach = bias + ndtri(np.array([TAIL, 1 - TAIL]))
    levels = ndtr(bias + reach / (1 - acceleration * reach))
    low, high = np.quantile(values, levels)
    return float(low), float(high), note

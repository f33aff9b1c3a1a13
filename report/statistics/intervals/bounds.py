"""Bounds of 95% intervals, from bootstrap replicates or from values with one unit left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.intervals.estimates import LeftOut
from frostline.report.statistics.intervals.reasons import (
    ONE_CARRIES_ALL,
    ONE_UNIT,
    UNDEFINED,
    UNVARYING,
)
from frostline.report.statistics.metrics import LOSSES, Array, metric_range
from frostline.report.statistics.resampling.jackknife import pseudo_contributions
from frostline.report.statistics.resampling.seeds_variance import NEGLIGIBLE, group_variance

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# More undefined replicates than this, and the rest no longer stand for the whole.
MOST_UNDEFINED = 0.01
AT_BOUND = "No interval: the estimate is at its bound."


def percentile_bounds(values: Array) -> tuple[float, float, str]:
    """Take the central 95% of replicates [B], with a sentence on undefined ones."""
    undefined = int(np.isnan(values).sum())
    share = undefined / len(values)
    if share > MOST_UNDEFINED:
        return float("nan"), float("nan"), f"No interval: undefined in {share:.1%} of replicates."
    bounds: npt.NDArray[np.float64] = np.nanquantile(values, [TAIL, 1 - TAIL])
    note = f"Undefined in {undefined} of {len(values)} replicates." if undefined else ""
    return float(bounds[0]), float(bounds[1]), note


def jackknife_scale(name: str, classes: Sequence[str]) -> tuple[float, float] | None:
    """Give a metric's lowest and highest value, infinite for losses; None where it has neither."""
    return (0.0, np.inf) if name in LOSSES else metric_range(name, classes)


def jackknife_bounds(
    name: str, centre: float, left: LeftOut, classes: Sequence[str]
) -> tuple[float, float, str]:
    """Give low, high and what to note, from a metric's values with one unit left out."""
    nothing = float("nan"), float("nan")
    if left.counts.sum() < 2:
        return *nothing, ONE_UNIT
    if np.isnan(left.values).any() or np.isnan(centre):
        return *nothing, UNDEFINED
    scale = jackknife_scale(name, classes)
    if scale is not None and at_bound(centre, scale):
        return *nothing, AT_BOUND
    made = pseudo_contributions(left.values, left.weights, left.counts)
    variance, df = group_variance(*made, left.counts, factor=left.factor)
    if np.isnan(variance):
        return *nothing, ONE_CARRIES_ALL
    if variance**0.5 <= NEGLIGIBLE * abs(centre):
        return *nothing, UNVARYING
    return *t_bounds(centre, variance**0.5, df, scale), ""


def at_bound(centre: float, scale: tuple[float, float]) -> bool:
    """Say whether an estimate is as low or as high as its metric can be, but for rounding."""
    return bool(np.isclose(centre, scale, rtol=0, atol=1e-12).any())


def t_bounds(
    centre: float, error: float, df: float, scale: tuple[float, float] | None
) -> tuple[float, float]:
    """Give Student's interval on the logit scale between two ends, or the log scale above one.

    The error there is that of the metric over its derivative (the delta method).
    """
    from scipy.special import expit, logit, stdtrit

    reach = float(stdtrit(df, 1 - TAIL)) * error
    if scale is None:
        return centre - reach, centre + reach
    lowest, highest = scale
    if np.isinf(highest):
        with np.errstate(over="ignore"):
            return centre * np.exp(-reach / centre), centre * np.exp(reach / centre)
    width = highest - lowest
    share = (centre - lowest) / width
    middle, reach = logit(share), reach / width / (share * (1 - share))
    low, high = (lowest + width * expit(middle + side * reach) for side in (-1, 1))
    return float(low), float(high)


def bca_bounds(
    values: Array, centre: float, without: LeftOut, note: str
) -> tuple[float, float, str]:
    from scipy.special import ndtr, ndtri

    nothing = float("nan"), float("nan")
    left, counts = without.values, without.counts
    if np.isnan(left).any():
        return *nothing, UNDEFINED
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

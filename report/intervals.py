"""Intervals of metrics, each method by its name in `INTERVALS`.

A method takes a sample and the metrics and gives an `Interval` for each; a new one is a function
and a line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frostline.report.bootstrap import bootstrap_confusions, find_kinds
from frostline.report.errors import InputError
from frostline.report.metrics import METRICS, Array, compute_metrics
from frostline.report.sample import Sample

LEVEL = 0.95
# More undefined replicates than this, and the rest no longer stand for the whole.
MOST_UNDEFINED = 0.01
NORMAL_975 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; `low` and `high` are NaN where there is none, see `note`.

    `n_units` counts the units that were resampled, `unit` says which they were.
    """

    estimate: float
    low: float
    high: float
    method: str
    replicates: int
    unit: str
    n_units: int
    note: str = ""


Method = Callable[[Sample, Sequence[str], int, int], dict[str, Interval]]


def percentile(
    sample: Sample, metrics: Sequence[str], replicates: int, seed: int
) -> dict[str, Interval]:
    """Percentile bootstrap over the sample's units (Efron and Tibshirani 1993, section 13.3)."""
    estimates = compute_metrics(sample.confusion, metrics)
    drawn = bootstrap_confusions(sample.kinds, replicates, np.random.default_rng(seed))
    out = {}
    for name, values in compute_metrics(drawn, metrics).items():
        low, high, note = percentile_bounds(values)
        out[name] = Interval(
            float(estimates[name]), low, high, "percentile", replicates,
            sample.unit, sample.n_units, note,
        )  # fmt: skip
    return out


def replicate_mean(
    sample: Sample, metrics: Sequence[str], replicates: int, seed: int
) -> dict[str, Interval]:
    """The paper's kind: mean of image-level replicates, and the interval of *that mean*.

    Its half-width is 1.96 sd / sqrt(replicates): it shrinks with the number of replicates, not with
    the data, and is no interval of the metric. For comparison with the paper only.
    """
    kinds = find_kinds(sample.truth, sample.prediction, len(sample.classes))
    drawn = bootstrap_confusions(kinds, replicates, np.random.default_rng(seed))
    out = {}
    for name, values in compute_metrics(drawn, metrics).items():
        centre = float(np.mean(values))
        half = NORMAL_975 * float(np.std(values, ddof=1)) / float(np.sqrt(replicates))
        out[name] = Interval(
            centre, centre - half, centre + half, "replicate-mean", replicates,
            "image", sample.n_images, "interval of the bootstrap mean, not of the metric",
        )  # fmt: skip
    return out


def auto(sample: Sample, metrics: Sequence[str], replicates: int, seed: int) -> dict[str, Interval]:
    """Percentile; where the estimate is 0 or 1, Clopper-Pearson with the units as trials.

    The bootstrap of a sample without errors has no width; that is no certainty.
    """
    intervals = percentile(sample, metrics, replicates, seed)
    for name, interval in intervals.items():
        if METRICS[name].proportion and interval.estimate in (0.0, 1.0):
            intervals[name] = clopper_pearson(interval)
    return intervals


def clopper_pearson(interval: Interval) -> Interval:
    """Clopper and Pearson's (1934) interval of a proportion that is 0 or 1, units as trials."""
    miss = ((1 - LEVEL) / 2) ** (1 / interval.n_units)
    low, high = (miss, 1.0) if interval.estimate == 1 else (0.0, 1 - miss)
    return replace(interval, low=low, high=high, method="clopper-pearson", replicates=0)


INTERVALS: dict[str, Method] = {
    "auto": auto,
    "percentile": percentile,
    "replicate-mean": replicate_mean,
}
DEFAULT_REPLICATES = {"replicate-mean": 5_000}


def compute_intervals(
    sample: Sample,
    metrics: Sequence[str],
    *,
    ci: str = "auto",
    replicates: int | None = None,
    seed: int = 0,
) -> dict[str, Interval]:
    """The interval of every metric by the method named `ci`.

    Parameters
    ----------
    replicates : int, optional
        10,000 unless said; 5,000 for `replicate-mean`, as in the paper.
    seed : int
        Of numpy's Generator. The numbers do not depend on the order of rows.
    """
    if ci not in INTERVALS:
        raise InputError(f"there is no interval {ci!r}; choose from {', '.join(INTERVALS)}.")
    if replicates is None:
        replicates = DEFAULT_REPLICATES.get(ci, 10_000)
    if replicates < 2:
        raise InputError(f"{replicates} replicates make no interval; ask for 1000 or more.")
    return INTERVALS[ci](sample, metrics, replicates, seed)


def percentile_bounds(values: Array) -> tuple[float, float, str]:
    """The central 95% of replicates [B], and a note about replicates in which it is undefined."""
    undefined = int(np.isnan(values).sum())
    share = undefined / len(values)
    if share > MOST_UNDEFINED:
        return float("nan"), float("nan"), f"no interval: undefined in {share:.1%} of replicates"
    tail = (1 - LEVEL) / 2
    bounds: npt.NDArray[np.float64] = np.nanquantile(values, [tail, 1 - tail])
    note = f"undefined in {undefined} of {len(values)} replicates" if undefined else ""
    return float(bounds[0]), float(bounds[1]), note

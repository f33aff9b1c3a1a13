"""Internal and external: what a method scores on its own test images, and in another hospital."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frostline.report.notes import Note, missing
from frostline.report.statistics.comparisons.aligned import Aligned, align
from frostline.report.statistics.comparisons.contributions import Contributions, contributions
from frostline.report.statistics.comparisons.methods import Method, group_methods
from frostline.report.statistics.evaluation import RUN_COLUMNS
from frostline.report.statistics.intervals.bounds import TAIL, at_bound, jackknife_scale, t_bounds
from frostline.report.statistics.intervals.estimates import df_factor
from frostline.report.statistics.intervals.flags import exact_trials, unknown
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import NO_INTERVAL, clopper_pearson
from frostline.report.statistics.metrics import Array, metric_range, of_probabilities
from frostline.report.statistics.resampling.seeds_variance import (
    SeedsPart,
    group_variance,
    seeds_part,
)
from frostline.report.statistics.sample import Scored

SIDES = ("internal", "external")
COLUMNS = (
    *("dataset", "internal_dataset", "run", *(n for n in RUN_COLUMNS if n != "dataset"), "metric"),
    *(f"{side}_{what}" for side in SIDES for what in ("estimate", "low", "high", "why", "n_units")),
    *("difference", "low", "high", "seed_error", "n_seeds", "unit", "positive", "notes"),
)
NAN = float("nan")
# Intervals over units, from which that of a difference follows as it is shown.
AS_SHOWN = ("jackknife-t", "percentile", "bca", "clopper-pearson")


@dataclass(frozen=True)
class _Side:
    """One method on one of both data sets.

    Attributes
    ----------
    method : Method
    values : float64 [S]
        The metric of each seed.
    made : Contributions
        What units contribute to it.
    variance, df : float
        Of the mean over seeds, between units: see `group_variance`.
    seeds : SeedsPart or None
        What seeds add, of which the interaction is taken.
    """

    method: Method
    values: Array
    made: Contributions
    variance: float
    df: float
    seeds: SeedsPart | None

    @property
    def estimate(self) -> float:
        """The mean over seeds."""
        return float(self.values.mean())

    @property
    def interaction(self) -> float:
        """The variance that units and seeds make together."""
        return 0.0 if self.seeds is None else self.seeds.interaction

    def distances(self, metric: str, shared: float) -> tuple[float, float]:
        """Give how far the ends of the interval over units are; NaN without one.

        `shared` is what of the variance is counted with the seeds.
        """
        samples = [sample for _, sample in self.method.runs]
        classes = samples[0].classes
        centre, scale = self.estimate, jackknife_scale(metric, classes)
        if metric in NO_INTERVAL or any(unknown(metric, one) for one in samples):
            return NAN, NAN
        bounds = metric_range(metric, classes)
        if bounds is not None and at_bound(centre, bounds):
            blank = Interval(centre, NAN, NAN, "", 0, samples[0].unit, samples[0].n_units)
            units = min(exact_trials(metric, one) for one in samples)
            found = clopper_pearson(metric, blank, units, classes)
            return centre - found.low, found.high - centre
        rest = max(self.variance - shared, 0.0)
        low, high = t_bounds(centre, rest**0.5, self.df, scale)
        return centre - low, high - centre


def is_external(item: Scored) -> bool:
    """Say whether a run was scored on a data set that is not that of its training."""
    return item[0].is_external


def internal_and_external(
    scored: Sequence[Scored],
    metrics: Sequence[str],
    intervals: pd.DataFrame,
) -> pd.DataFrame:
    """Compare what methods score on their own test images and on external data sets.

    Both are independent samples of patients, so that the distances of both estimates from the ends
    of their own intervals are squared and added (Newcombe 1998, method 10, of two proportions; Zou
    and Donner 2008, of any two estimates): with one seed the interval of the difference follows
    from the two that are shown. It keeps what these do near a bound, where a variance on the scale
    of the difference is 0 if no unit is wrong. The same seeds score both, and what a seed does to
    both is no difference: the variance of the differences over seeds, with Student's t of S - 1, is
    added (`_reach`), and the interaction of seeds and units is counted once (`seeds_part`). By
    simulation of accuracies with 30 to 75 patients a side, one seed covers in 95 to 98% of samples,
    in more where a score is often at its bound, and two or three seeds cover in about 99%.

    There is no test: that another hospital differs is expected, and how much is what is asked.

    Parameters
    ----------
    scored : sequence of (Predictions, Sample)
        Runs, and the same runs on external data sets, which name them as `trained_run`.
    metrics : sequence of str
    intervals : DataFrame
        What `tabulate_methods` gives for these: the intervals that are shown for both.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: a row a method, external data set and metric; `difference` is external
        less internal, `seed_error` what seeds add to its standard error (NaN of one seed), and
        `…_why` says in a few words why one of both scores has no interval.
    """
    known = {run.run: (run, sample) for run, sample in scored if not is_external((run, sample))}
    shown = {(row["run"], row["metric"]): row for row in intervals.to_dict("records")}
    outside = [item for item in scored if item[0].meta.get("trained_run") in known]
    records: list[dict[str, Any]] = []
    for method in group_methods(outside):
        own = Method(tuple(known[run.meta["trained_run"]] for run, _ in method.runs))
        records += _records(own, method, metrics, shown)
    return pd.DataFrame(records, columns=list(COLUMNS))


def _records(
    own: Method,
    outside: Method,
    metrics: Sequence[str],
    shown: Mapping[tuple[str, str], Mapping[Any, Any]],
) -> Iterator[dict[str, Any]]:
    pair = own, outside
    aligned = [align(method.runs) for method in pair]
    about = {name: own.meta.get(name) for name in RUN_COLUMNS}
    about |= {"dataset": outside.dataset, "internal_dataset": own.dataset, "run": own.name}
    about |= {"n_seeds": len(own.runs), "unit": outside.sample.unit}
    for metric in metrics:
        if of_probabilities(metric) and any(one.paired.rows is None for one in aligned):
            continue
        found = [shown.get((method.name, metric), {}) for method in pair]
        # Where a seed is on one side alone, what is shown there is of other seeds than these.
        rows = [row if row.get("n_seeds") == len(own.runs) else {} for row in found]
        sides = [_side(*one, metric) for one in zip(pair, aligned, strict=True)]
        record = about | {"metric": metric, "positive": outside.sample.positive_of(metric)}
        for name, side, row in zip(SIDES, sides, rows, strict=True):
            record |= {f"{name}_{end}": row.get(end, NAN) for end in ("low", "high")}
            record[f"{name}_why"] = missing(row.get("notes", ()))
            record[f"{name}_estimate"] = side.estimate
            record[f"{name}_n_units"] = side.method.sample.n_units
        yield record | _difference(sides[0], sides[1], rows, metric)


def _side(method: Method, aligned: Aligned, metric: str) -> _Side:
    made, values = contributions(aligned.paired, metric), aligned.paired.estimates(metric)
    means = made.residuals.mean(1), made.weights.mean(1)
    factor = df_factor(metric, method.sample)
    variance, df = group_variance(*means, made.counts, factor=factor)
    part = seeds_part(values, made.shares, made.counts, made.step)
    return _Side(method, values, made, variance, df, part)


def _difference(
    own: _Side, outside: _Side, shown: Sequence[Mapping[Any, Any]], metric: str
) -> dict[str, Any]:
    """Put the distances together: of the units of both, and of seeds."""
    difference, sides, part = outside.estimate - own.estimate, (own, outside), _seeds(own, outside)
    both = own.interaction + outside.interaction
    shared = 0.0 if part is None else part.shared(own.variance + outside.variance)
    ends = []
    for side, row in zip(sides, shown, strict=True):
        share = shared * side.interaction / both if both > 0 else 0.0
        found = side.distances(metric, share)
        if len(side.values) == 1 and row.get("method") in AS_SHOWN:
            found = side.estimate - row["low"], row["high"] - side.estimate
        ends.append(found)
    (below, above), (below_outside, above_outside) = ends
    quantiles = [_quantile(side.df) for side in sides]
    low = difference - _reach((above, below_outside), quantiles, part)
    high = difference + _reach((below, above_outside), quantiles, part)
    none = Note("No interval: one of the two scores has none.", (metric,))
    return {
        "difference": difference,
        "low": low,
        "high": high,
        "seed_error": NAN if part is None else part.error(own.variance + outside.variance),
        "notes": (none,) if np.isnan(low) else (),
    }


def _seeds(own: _Side, outside: _Side) -> SeedsPart | None:
    """Compute what seeds add to the difference; None of one seed, and where none matters."""
    if own.seeds is None and outside.seeds is None:
        return None
    apart, seeds = outside.values - own.values, len(own.values)
    # Two seeds may have one score on a few images: rounding, as in `seeds_part`.
    whole = float(apart.var(ddof=1)) + (own.made.step**2 + outside.made.step**2) / 6
    return SeedsPart(whole / seeds, own.interaction + outside.interaction, seeds - 1)


def _reach(
    distances: tuple[float, float], quantiles: Sequence[float], seeds: SeedsPart | None
) -> float:
    """Give the distance of an end of the interval, of those of both samples and of seeds.

    With seeds, the mean of both quantiles, weighted by the variances (Cochran and Cox 1950, as
    `SeedsTest.mean_df` has it); that of the units is what their distances say it is.
    """
    units = float(np.hypot(*distances))
    if seeds is None:
        return units
    error = math.hypot(*(one / q for one, q in zip(distances, quantiles, strict=True)))
    whole = error**2 + seeds.whole
    if not whole > 0:
        return units
    return (error * units + seeds.whole * _quantile(seeds.df)) / float(whole**0.5)


def _quantile(df: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(df, 1 - TAIL))

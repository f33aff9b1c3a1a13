"""Intervals of metrics, each method by its name in `INTERVALS`.

A method takes a sample and the metrics and gives an `Interval` for each; a new one is a function
and a line in the table. `docs/statistics.md` shows how often each covers, and why `auto` chooses
as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.notes import Note, Notes
from frostline.report.statistics.intervals.estimates import Draws, estimate, leave_out, replicate
from frostline.report.statistics.intervals.flags import LOSSES, flag, trials
from frostline.report.statistics.metrics import Array, find_metric, of_probabilities
from frostline.report.statistics.resampling.jackknife import jackknife_error
from frostline.report.statistics.sample import Sample

LEVEL = 0.95
TAIL = (1 - LEVEL) / 2
# More undefined replicates than this, and the rest no longer stand for the whole.
MOST_UNDEFINED = 0.01
NORMAL_975 = 1.959963984540054
# From these on `auto` takes the percentile interval; chosen by benchmarks/coverage_atlas.py.
MANY_UNITS = 400
MANY_WRONG = 50
# Of those that the metric hangs on: a class's, or the rarest class's where classes weigh alike.
MANY_OF_A_CLASS = 150
BOOTSTRAP_MEAN = Note("Interval of the bootstrap mean, not of the metric.")
UNVARYING = "Leaving out any unit changes nothing, so the interval has no width."
NO_INTERVAL = {
    "calibration_error": "No interval: calibration error is not resampled; bars show it.",
}


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; `low` and `high` are NaN where there is none, see `notes`.

    `n_units` counts the units that were resampled, `unit` says which they were.
    """

    estimate: float
    low: float
    high: float
    method: str
    replicates: int
    unit: str
    n_units: int
    notes: Notes = ()


Method = Callable[[Sample, Sequence[str], Draws], dict[str, Interval]]


def percentile(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Percentile bootstrap over the sample's units (Efron and Tibshirani 1993, section 13.3)."""
    centres = estimate(sample, metrics)
    out = {}
    for name, values in replicate(sample, metrics, draws).items():
        low, high, note = percentile_bounds(values)
        one = _blank(sample, centres[name], "percentile", draws.replicates)
        out[name] = replace(one, low=low, high=high, notes=_notes(note, name))
    return out


def bca(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Bias-corrected and accelerated bootstrap (Efron 1987; Efron and Tibshirani 1993, chapter 14).

    The acceleration is of the jackknife that deletes one unit, kinds weighted by how many units
    they stand for; the bias correction counts half of the replicates that equal the estimate.
    """
    centres, left = estimate(sample, metrics), leave_out(sample, metrics)
    out = {}
    for name, values in replicate(sample, metrics, draws).items():
        low, high, note = percentile_bounds(values)
        if not np.isnan(low):
            low, high, note = _bca_bounds(values, centres[name], *left[name], note)
        one = _blank(sample, centres[name], "bca", draws.replicates)
        out[name] = replace(one, low=low, high=high, notes=_notes(note, name))
    return out


def jackknife_t(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Delete-one-group jackknife with Student's t of G - 1, on the scale where it is symmetric.

    The standard error is Tukey's (1958); the logit of a bounded metric is symmetric where the
    metric is not, and its error is s / (p (1 - p)) by the delta method (Korn and Graubard 1998
    compare such intervals for proportions of clustered data). Losses, which have a lower bound
    alone, are on the log scale in the same way. No random numbers.
    """
    centres, out = estimate(sample, metrics), {}
    for name, (left, counts) in leave_out(sample, metrics).items():
        one = _blank(sample, centres[name], "jackknife-t", 0)
        low, high, note = jackknife_bounds(centres[name], left, counts, jackknife_scale(name))
        # Of one answer given to all, balanced accuracy is 1 / K whatever the sample.
        note = "" if note == UNVARYING and len(set(sample.prediction.tolist())) == 1 else note
        out[name] = replace(one, low=low, high=high, notes=_notes(note, name))
    return out


def jackknife_scale(name: str) -> tuple[float, float] | None:
    """Lowest and highest value of a metric, infinite for losses; None where it has neither."""
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


def replicate_mean(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """The paper's kind: mean of image-level replicates, and the interval of *that mean*.

    Its half-width is 1.96 sd / sqrt(replicates): it shrinks with the number of replicates, not with
    the data, and is no interval of the metric. For comparison with the paper only.
    """
    by_image = replace(sample, groups=None, unit="image")
    out = {}
    for name, values in replicate(by_image, metrics, draws).items():
        centre = float(np.mean(values))
        half = NORMAL_975 * float(np.std(values, ddof=1)) / float(np.sqrt(draws.replicates))
        out[name] = Interval(
            centre,
            centre - half,
            centre + half,
            "replicate-mean",
            draws.replicates,
            "image",
            by_image.n_units,
            (BOOTSTRAP_MEAN,),
        )
    return out


def auto(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """The method that covers: see `choose_method`."""
    centres = estimate(sample, metrics)
    chosen: dict[str, list[str]] = {}
    for name in metrics:
        chosen.setdefault(choose_method(sample, name, centres[name]), []).append(name)
    out: dict[str, Interval] = {}
    for method, names in chosen.items():
        if method == "clopper-pearson":
            blanks = {name: _blank(sample, centres[name], method, 0) for name in names}
            for name, blank in blanks.items():
                out[name] = clopper_pearson(name, blank, trials(name, sample))
        else:
            out |= INTERVALS[method](sample, names, draws)
    return {name: out[name] for name in metrics}


def choose_method(sample: Sample, name: str, centre: float) -> str:
    """What `auto` uses for one metric, by the coverage atlas of `docs/statistics.md`.

    Clopper-Pearson where every unit is right or every unit wrong; the percentile bootstrap with
    400 units or more of which 50 or more have an error, and 150 or more of every class that the
    metric hangs on; else jackknife-t, which covers there too.
    """
    if find_metric(name).share and centre in (0.0, 1.0):
        return "clopper-pearson"
    many = sample.n_units >= MANY_UNITS and sample.wrong_units >= MANY_WRONG
    return "percentile" if many and trials(name, sample) >= MANY_OF_A_CLASS else "jackknife-t"


def clopper_pearson(name: str, interval: Interval, units: int) -> Interval:
    """Clopper and Pearson's (1934) interval of a proportion that is 0 or 1, units as trials."""
    if units == 0:
        return replace(interval, notes=_notes("No interval: there is no unit of this class.", name))
    miss = TAIL ** (1 / units)
    low, high = (miss, 1.0) if interval.estimate == 1 else (0.0, 1 - miss)
    return replace(interval, low=low, high=high, method="clopper-pearson", replicates=0)


INTERVALS: dict[str, Method] = {
    "auto": auto,
    "percentile": percentile,
    "bca": bca,
    "jackknife-t": jackknife_t,
    "replicate-mean": replicate_mean,
}
DEFAULT_REPLICATES = {"replicate-mean": 5_000}


def check_interval(ci: str) -> None:
    """Refuse a name of no interval, with the list of those there are."""
    if ci not in INTERVALS:
        raise InputError(f"there is no interval {ci!r}; choose from {', '.join(INTERVALS)}.")


def compute_intervals(
    sample: Sample,
    metrics: Sequence[str],
    *,
    ci: str = "auto",
    replicates: int | None = None,
    seed: int = 0,
    stratified: bool = False,
) -> dict[str, Interval]:
    """The interval of every metric by the method named `ci`.

    Parameters
    ----------
    replicates : int, optional
        10,000 unless said; 5,000 for `replicate-mean`, as in the paper.
    seed : int
        Of numpy's Generator. The numbers do not depend on the order of rows.
    stratified : bool
        Resample within classes, so that their shares stay as they are in the sample.
    """
    check_interval(ci)
    if replicates is None:
        replicates = DEFAULT_REPLICATES.get(ci, 10_000)
    if replicates < 2:
        raise InputError(f"{replicates} replicates make no interval; ask for 1000 or more.")
    silent = [name for name in metrics if sample.probs is None and of_probabilities(name)]
    plain = [name for name in metrics if name in NO_INTERVAL and name not in silent]
    there = [name for name in metrics if name not in silent and name not in plain]
    draws = Draws(replicates, seed, stratified)
    found = INTERVALS[ci](sample, there, draws) if there else {}
    for name, centre in estimate(sample, plain).items():
        blank = _blank(sample, centre, "none", 0)
        found[name] = replace(blank, notes=_notes(NO_INTERVAL[name], name))
    for name in silent:
        blank = _blank(sample, float("nan"), "none", 0)
        found[name] = replace(blank, notes=(no_probabilities(name),))
    return {name: _flagged(name, found[name], sample) for name in metrics}


def no_probabilities(metric: str) -> Note:
    """Say why this metric has no value."""
    return Note("There are no probabilities, so it has no value.", (metric,))


def percentile_bounds(values: Array) -> tuple[float, float, str]:
    """The central 95% of replicates [B], and a sentence on replicates in which it is undefined."""
    undefined = int(np.isnan(values).sum())
    share = undefined / len(values)
    if share > MOST_UNDEFINED:
        return float("nan"), float("nan"), f"No interval: undefined in {share:.1%} of replicates."
    bounds: npt.NDArray[np.float64] = np.nanquantile(values, [TAIL, 1 - TAIL])
    note = f"Undefined in {undefined} of {len(values)} replicates." if undefined else ""
    return float(bounds[0]), float(bounds[1]), note


def _bca_bounds(
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


def _blank(sample: Sample, centre: float, method: str, replicates: int) -> Interval:
    nan = float("nan")
    return Interval(centre, nan, nan, method, replicates, sample.unit, sample.n_units)


def _flagged(name: str, interval: Interval, sample: Sample) -> Interval:
    if np.isnan(interval.low) or interval.method == "replicate-mean":
        return interval
    return replace(interval, notes=(*interval.notes, *flag(name, sample)))


def _notes(text: str, metric: str) -> Notes:
    return (Note(text, (metric,)),) if text else ()

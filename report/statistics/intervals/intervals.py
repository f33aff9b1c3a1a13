"""Intervals of metrics, each method by its name in `INTERVALS`.

A method takes a sample and the metrics and gives an `Interval` for each; a new one is a function
and a line in the table. `docs/statistics.md` shows how often each covers, and why `auto` chooses
as it does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from frostline.cache.errors import InputError
from frostline.cache.tables.words import counted
from frostline.report.notes import Note, Notes
from frostline.report.statistics.intervals.bounds import (
    TAIL,
    at_bound,
    bca_bounds,
    jackknife_bounds,
    jackknife_scale,
    percentile_bounds,
)
from frostline.report.statistics.intervals.estimates import Draws, estimate, leave_out, replicate
from frostline.report.statistics.intervals.exact import one_answer
from frostline.report.statistics.intervals.flags import (
    MANY_OF_A_CLASS,
    MANY_UNITS,
    MANY_WRONG,
    exact_trials,
    flag,
    trials,
    unknown,
)
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.own import OWN_REPLICATES, own_interval
from frostline.report.statistics.intervals.reasons import (
    TOO_FEW,
    UNDEFINED,
    UNVARYING,
    absent,
    says_nothing,
    undefined,
)
from frostline.report.statistics.metrics import OWN_METRICS, metric_range, of_probabilities
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import ROC_METRICS

NORMAL_975 = 1.959963984540054
BOOTSTRAP_MEAN = Note("Interval of the bootstrap mean, not of the metric.", first=True)
NO_INTERVAL = {
    "calibration_error": "No interval: calibration error is not resampled; bars show it.",
}


IntervalMethod = Callable[[Sample, Sequence[str], Draws], dict[str, Interval]]


def percentile(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Take the percentile bootstrap over units (Efron and Tibshirani 1993, section 13.3)."""
    centres = estimate(sample, metrics)
    out = {}
    for name, values in replicate(sample, metrics, draws).items():
        low, high, note = percentile_bounds(values)
        one = _blank(sample, centres[name], "percentile", draws.replicates)
        out[name] = replace(one, low=low, high=high, notes=_notes(note, name))
    return out


def bca(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Correct for bias and acceleration (Efron 1987; Efron and Tibshirani 1993, chapter 14).

    The acceleration is of the jackknife that deletes one unit, kinds weighted by how many units
    they stand for; the bias correction counts half of the replicates that equal the estimate.
    """
    centres, left = estimate(sample, metrics), leave_out(sample, metrics)
    out = {}
    for name, values in replicate(sample, metrics, draws).items():
        low, high, note = percentile_bounds(values)
        if not np.isnan(low):
            low, high, note = bca_bounds(values, centres[name], left[name], note)
        one = _blank(sample, centres[name], "bca", draws.replicates)
        out[name] = replace(one, low=low, high=high, notes=_why(note, name, sample))
    return out


def jackknife_t(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Leave out one group: Student's t, on the scale where it is symmetric.

    The standard error is Tukey's (1958), the degrees of freedom are those of the effective number
    of groups (`group_variance`). The logit of a bounded metric is symmetric where the metric is
    not, and its error is s / (p (1 - p)) by the delta method (Korn and Graubard 1998 compare such
    intervals for proportions of clustered data). Losses, which have a lower bound alone, are on the
    log scale in the same way. No random numbers.
    """
    centres, out = estimate(sample, metrics), {}
    for name, left in leave_out(sample, metrics).items():
        one = _blank(sample, centres[name], "jackknife-t", 0)
        low, high, note = jackknife_bounds(name, centres[name], left, sample.classes)
        # Of one answer given to all, balanced accuracy is 1 / K whatever the sample.
        if note == UNVARYING and one_answer(sample, name):
            low, high, note = centres[name], centres[name], ""
        out[name] = replace(one, low=low, high=high, notes=_why(note, name, sample))
    return out


def replicate_mean(sample: Sample, metrics: Sequence[str], draws: Draws) -> dict[str, Interval]:
    """Take the paper's kind: the mean of image-level replicates, and *that mean's* interval.

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
    """Take the method that covers: see `choose_method`."""
    centres = estimate(sample, metrics)
    chosen: dict[str, list[str]] = {}
    for name in metrics:
        chosen.setdefault(choose_method(sample, name, centres[name]), []).append(name)
    out: dict[str, Interval] = {}
    for method, names in chosen.items():
        if method == "clopper-pearson":
            blanks = {name: _blank(sample, centres[name], method, 0) for name in names}
            for name, blank in blanks.items():
                out[name] = clopper_pearson(name, blank, exact_trials(name, sample), sample.classes)
        else:
            out |= INTERVALS[method](sample, names, draws)
    return {name: out[name] for name in metrics}


def choose_method(sample: Sample, name: str, centre: float) -> str:
    """Choose what `auto` uses for a metric, by the coverage atlas of `docs/statistics.md`.

    Clopper-Pearson where the estimate is as high or as low as it can be; the percentile bootstrap
    with 400 effective units or more, if 50 or more have an error, and 150 or more are of every
    class that the metric hangs on; else jackknife-t, which covers there too.
    """
    bounds = metric_range(name, sample.classes)
    if bounds is not None and at_bound(centre, bounds):
        return "clopper-pearson"
    many = sample.effective_units >= MANY_UNITS and sample.wrong_units >= MANY_WRONG
    return "percentile" if many and trials(name, sample) >= MANY_OF_A_CLASS else "jackknife-t"


def clopper_pearson(
    name: str, interval: Interval, units: float, classes: Sequence[str]
) -> Interval:
    """Bound a metric that is as high or as low as it can be (Clopper and Pearson 1934).

    Units are the trials. Of ROC AUC those of the rarest class: if it is θ, so many pairs of a
    positive and a negative that share no unit are all in the right order with a chance of at most
    θ to their number. Metrics from -1 to 1 are 0 if half is right, as a share of 1/2 is; as many
    units of another class as of the rarest one are then right too, and twice its units are trials
    of the share that is stretched to their range. Of grades each unit not seen to be off may be so
    by the whole range: the bound of the share that is off, times the range.
    """
    lowest, highest = metric_range(name, classes) or (0.0, 1.0)
    width = highest - lowest
    if units == 0:
        return replace(interval, notes=_notes("No interval: there is no unit of this class.", name))
    reach = width * TAIL ** (1 / (width * units))
    top = interval.estimate > (lowest + highest) / 2
    low, high = (lowest + reach, highest) if top else (lowest, highest - reach)
    return replace(interval, low=low, high=high, method="clopper-pearson", replicates=0)


INTERVALS: dict[str, IntervalMethod] = {
    "auto": auto,
    "percentile": percentile,
    "bca": bca,
    "jackknife-t": jackknife_t,
    "replicate-mean": replicate_mean,
}
DEFAULT_REPLICATES = {"replicate-mean": 5_000}


# They draw units again, always.
BOOTSTRAPS = ("percentile", "bca", "replicate-mean")


def check_interval(ci: str, *, stratified: bool = False) -> None:
    """Refuse a name of no interval, with the list of those there are, and one without strata."""
    if ci not in INTERVALS:
        raise InputError(f"There is no interval {ci!r}: choose from {', '.join(INTERVALS)}.")
    if stratified and ci not in BOOTSTRAPS:
        raise InputError(
            f"Stratified resampling needs a bootstrap, and the interval {ci!r} may be none: choose "
            f"from {', '.join(BOOTSTRAPS)}."
        )


def compute_intervals(
    sample: Sample,
    metrics: Sequence[str],
    *,
    ci: str = "auto",
    replicates: int | None = None,
    seed: int = 0,
    stratified: bool = False,
) -> dict[str, Interval]:
    """Compute the interval of every metric by the method named `ci`.

    Parameters
    ----------
    replicates : int, optional
        10,000 unless said; 5,000 for `replicate-mean`, as in the paper; 1,000 for functions.
    seed : int
        Of numpy's Generator. The numbers do not depend on the order of rows.
    stratified : bool
        Resample within classes, so that their shares stay as they are in the sample: of a bootstrap
        alone, so not with `auto`.
    """
    check_interval(ci, stratified=stratified)
    own = [name for name in metrics if name in OWN_METRICS]
    of_own = Draws(replicates or OWN_REPLICATES, seed, stratified)
    if replicates is None:
        replicates = DEFAULT_REPLICATES.get(ci, 10_000)
    if replicates < 2:
        raise InputError(
            f"{counted(replicates, 'replicate')} cannot make an interval: ask for 1000 or more."
        )
    silent = [name for name in metrics if sample.probs is None and of_probabilities(name)]
    plain = [name for name in metrics if name in NO_INTERVAL and name not in silent]
    there = [name for name in metrics if name not in {*silent, *plain, *own}]
    draws = Draws(replicates, seed, stratified)
    found = INTERVALS[ci](sample, there, draws) if there else {}
    found |= {name: own_interval(sample, name, ci, of_own) for name in own}
    for name, centre in estimate(sample, plain).items():
        blank = _blank(sample, centre, "none", 0)
        found[name] = replace(blank, notes=_notes(NO_INTERVAL[name], name))
    for name in silent:
        blank = _blank(sample, float("nan"), "none", 0)
        found[name] = replace(blank, notes=(no_probabilities(name),))
    return {name: _flagged(name, found[name], sample) for name in metrics}


def no_probabilities(metric: str) -> Note:
    """Say why this metric has no value."""
    return Note("No value: there are no probabilities.", (metric,))


def _blank(sample: Sample, centre: float, method: str, replicates: int) -> Interval:
    nan = float("nan")
    return Interval(centre, nan, nan, method, replicates, sample.unit, sample.n_units)


def _flagged(name: str, interval: Interval, sample: Sample) -> Interval:
    if interval.method == "replicate-mean":
        return interval
    none = unknown(name, sample)
    if none:
        return replace(interval, low=float("nan"), high=float("nan"), notes=none)
    if np.isnan(interval.estimate) and name in ROC_METRICS:
        return replace(interval, notes=absent(name, sample) or interval.notes)
    if np.isnan(interval.low):
        return interval
    if says_nothing(interval.low, interval.high, jackknife_scale(name, sample.classes)):
        few = _notes(TOO_FEW.format(unit=sample.unit), name)
        return replace(interval, low=float("nan"), high=float("nan"), notes=few)
    return replace(interval, notes=(*interval.notes, *flag(name, sample)))


def _why(text: str, metric: str, sample: Sample) -> Notes:
    if text == UNDEFINED:
        return (undefined(metric, sample),)
    return _notes(text.format(unit=sample.unit), metric)


def _notes(text: str, metric: str) -> Notes:
    return (Note(text, (metric,)),) if text else ()

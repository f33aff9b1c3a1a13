"""Temperature scaling: one number that mends probabilities, fitted where nothing is scored.

Guo, Pleiss, Sun and Weinberger (2017), section 4.2: logits are divided by the temperature T > 0
that makes the log loss of validation least; above 1 it makes probabilities less sure. No prediction
changes. Probabilities p are enough: log p are the logits, but for a number that all classes of a
row share, which the softmax takes away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from frostline.cache.errors import InputError
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.intervals.bounds import TAIL
from frostline.report.statistics.intervals.flags import FEWEST_UNITS
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.resampling.jackknife import pseudo_contributions
from frostline.report.statistics.resampling.seeds_variance import group_variance
from frostline.report.statistics.resampling.units import make_units
from frostline.report.statistics.sample import Sample, make_sample
from frostline.report.statistics.seeds import fold_of_rows

# The temperatures that are tried.
LEAST, MOST = 0.05, 20.0
# As near to a bound as this, as a share, and the best lies beyond it.
AT_BOUND = 1e-4
# What a probability of 0 counts as: the log loss clips there too.
SMALLEST = float(np.finfo(np.float64).eps)
UNBOUNDED = (
    "No temperature: validation's log loss still falls at {bound:g}, the {which} that is tried."
)
ALL_ALIKE = "No temperature: the probabilities of the validation rows are all alike."
ONE_CLASS = "No temperature: the validation rows are all of one class."
NO_ROWS = "There are no validation rows to fit a temperature on."


@dataclass(frozen=True)
class Temperature:
    """A temperature with its 95% interval, and the rows that it was fitted on.

    `value` is NaN where there is none, and `notes` say why; `low` and `high` are where it has no
    interval, or one that leaves what is tried.
    """

    value: float
    low: float
    high: float
    unit: str
    n_units: int
    n_images: int
    notes: Notes = ()


def scale(probabilities: Array, temperature: float | Array) -> Array:
    """Give the softmax of log p / T: [n, K], of one temperature or one a row.

    Of two classes that is the logit divided by T. A probability of 0 counts as `SMALLEST`, or as
    the least of its row that is above 0, if that is less.
    """
    from scipy.special import softmax

    logits = _logits(probabilities) / np.asarray(temperature, dtype=np.float64).reshape(-1, 1)
    return np.asarray(softmax(logits, axis=1))


def fit_temperature(sample: Sample) -> Temperature:
    """Find the temperature that makes the log loss of a sample least, from `LEAST` to `MOST`.

    The log loss is convex in 1 / T, so that it has one lowest place. The interval is Student's t
    on the log scale, from the delete-one-unit jackknife (Tukey 1958): without a unit the
    temperature is found by one step of Newton.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    probs = _known(sample)
    # In an order of their contents, so that sums round alike whatever the order of rows.
    units = make_units(sample.truth, probs, sample.groups)
    logits, truth = _logits(units.scores.probs), units.scores.truth
    own = logits[np.arange(len(truth)), truth]
    nan = float("nan")
    none = Temperature(nan, nan, nan, sample.unit, sample.n_units, sample.n_images)
    if np.ptp(logits, axis=1).max() < 1e-9:
        return replace(none, notes=(Note(ALL_ALIKE),))
    if len(np.unique(truth)) == 1:
        return replace(none, notes=(Note(ONE_CLASS),))

    def loss(log_temperature: float) -> float:
        scaled = np.exp(-log_temperature)
        return float((logsumexp(logits * scaled, axis=1) - own * scaled).mean())

    ends = float(np.log(LEAST)), float(np.log(MOST))
    found = float(minimize_scalar(loss, bounds=ends, options={"xatol": 1e-10}).x)
    for bound, end, which in zip((LEAST, MOST), ends, ("lowest", "highest"), strict=True):
        if abs(found - end) < AT_BOUND:
            return replace(none, notes=(Note(UNBOUNDED.format(bound=bound, which=which)),))
    low, high = _interval(logits, own, found, units.member, sample)
    few = f"Only {sample.n_units} {sample.unit}s of validation: the temperature is hardly known."
    notes = (Note(few),) if sample.n_units < FEWEST_UNITS else ()
    return replace(none, value=float(np.exp(found)), low=low, high=high, notes=notes)


def validation_sample(run: Predictions, *, unit: str = "group", aggregate: str = "auto") -> Sample:
    """Take the validation rows of a run.

    Raises
    ------
    InputError
        If it has none with a label, or no probabilities.
    """
    run = run.validated
    if not run.has_validation:
        why = "a cross-validation, which" if run.meta.get("cv") else "a file that"
        raise InputError(
            f"{run.run} is {why} has no labelled rows of split val, on which a temperature is "
            "fitted: give a run that has."
        )
    sample = make_sample(run, split="val", unit=unit, aggregate=aggregate)
    _known(sample, run.run)
    return sample


def validation_notes(run: Predictions, split: str) -> Notes:
    """Say whose validation something was chosen on, if not the run's; and which groups count twice.

    `split` is what is scored.
    """
    if run.validated is not run:
        return (Note(f"Validation is that of {run.meta['trained_on']}, where the model trained."),)
    groups = [
        set(run.table.loc[run.table["split"].eq(part).fillna(False), "group_id"].dropna())
        for part in ("val", split)
    ]
    both = len(groups[0] & groups[1])
    if not both:
        return ()
    words = "1 group is" if both == 1 else f"{both:,} groups are"
    return (
        Note(
            f"{words} both in validation and scored: what is chosen on patients suits them better "
            "than others.",
            first=True,
        ),
    )


def fold_temperatures(run: Predictions, sample: Sample) -> tuple[Array, Notes]:
    """Fit for each fold of a cross-validation a temperature on the rows of the other folds.

    Those rows were predicted out of fold too. Returns the temperature of each row, [n], NaN where
    there is none, and why.
    """
    fold = fold_of_rows(run, sample)
    out, notes = np.full(len(fold), np.nan), []
    for rest, own in _others(fold):
        found = fit_temperature(sample.rows(rest))
        out[own] = found.value
        notes += [] if np.isfinite(found.value) else list(found.notes)
    return out, tuple(dict.fromkeys(notes))


def _others(fold: Codes) -> Iterator[tuple[Codes, Codes]]:
    """Give the rows of all other folds and those of it, for each fold."""
    for number in np.unique(fold):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)


def _logits(probabilities: Array) -> Array:
    above = np.where(probabilities > 0, probabilities, np.inf).min(axis=1, keepdims=True)
    zero = np.minimum(above, SMALLEST)
    return np.asarray(np.log(np.where(probabilities > 0, probabilities, zero)))


def _interval(
    logits: Array, own: Array, found: float, member: Codes, sample: Sample
) -> tuple[float, float]:
    """Bound a temperature whose logarithm is `found`; NaN where one unit alone decides it."""
    from scipy.special import softmax, stdtrit

    units, scaled = int(member.max()) + 1, np.exp(-found)
    share = softmax(logits * scaled, axis=1)
    mean = (share * logits).sum(1)
    slope, curve = mean - own, (share * (logits - mean[:, None]) ** 2).sum(1)
    by_unit = [np.bincount(member, values, units) for values in (slope, curve)]
    rest = curve.sum() - by_unit[1]
    if units < 2 or not (rest > 0).all():
        return float("nan"), float("nan")
    # d log T = -d(1 / T) T.
    left = found - by_unit[0] / rest / scaled
    ones = np.ones(units, dtype=np.int64)
    sizes = np.bincount(member, minlength=units).astype(np.float64)
    factor = np.inf if np.ptp(sizes) == 0 else 1.0
    made = pseudo_contributions(left, sizes, ones)
    variance, df = group_variance(*made, ones, factor=factor)
    reach = float(stdtrit(df, 1 - TAIL)) * variance**0.5
    if found - reach < np.log(LEAST) or found + reach > np.log(MOST):
        # Beyond what is tried there is no best temperature, and its bound would say nothing.
        return float("nan"), float("nan")
    return float(np.exp(found - reach)), float(np.exp(found + reach))


def _known(sample: Sample, name: str = "This run") -> Array:
    if sample.probs is None:
        raise InputError(
            f"{name} has no probabilities, which a temperature is of: give prob_ columns."
        )
    return sample.probs

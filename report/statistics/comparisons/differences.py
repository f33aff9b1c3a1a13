"""Differences of methods on the same images, each with its interval and its test.

The one place where a difference is tested. With one seed each the two runs' predictions of whole
groups are swapped, and the result is about these trained models. With more seeds the variance is
that between groups of the difference of means (delete-one-group jackknife, paired) plus s² / S of
each method's seeds, and p is of Student's t, because swaps know nothing of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frostline.report.notes import Note, Notes
from frostline.report.statistics.comparisons.aligned import Aligned
from frostline.report.statistics.comparisons.multiplicity import holm, max_t
from frostline.report.statistics.comparisons.paired import (
    Paired,
    leave_out_values,
    replicate_values,
)
from frostline.report.statistics.comparisons.swaps import Swaps, swap_p_values, swap_units
from frostline.report.statistics.intervals.intervals import MANY_UNITS, TAIL, percentile_bounds
from frostline.report.statistics.metrics import Array, find_metric, of_probabilities
from frostline.report.statistics.resampling.jackknife import jackknife_error, satterthwaite

Codes = npt.NDArray[np.int64]
ALPHA = 0.05
# From so many on the jackknife's error shows whether two runs are equivalent.
FEWEST_DIFFERING = 10
NOT_THE_METHODS = Note("One seed: these trained models, not the methods.")
NEVER_DIFFER = Note("The two never differ, so there is no interval.")
NOTHING_VARIES = Note("Nothing varies between groups or seeds, so there is no interval.")


@dataclass(frozen=True)
class Options:
    """How methods are compared; the fields are those of `compare`."""

    metric: str = "accuracy"
    family: str = "pairs"
    margin: float | None = None
    replicates: int = 10_000
    seed: int = 0


Pair = tuple[slice, slice]


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, each the mean over its seeds, with a paired 95% interval.

    `group_error` is the standard error from groups, `seed_error` that from seeds (NaN where neither
    method has a second seed); `p` is two-sided, `smallest_p` the smallest that the test could give
    (NaN for Student's t). `equivalence_p` and `mcnemar_p` are None where they do not apply.
    """

    estimate_a: float
    estimate_b: float
    difference: float
    low: float
    high: float
    method: str
    p: float
    test: str
    smallest_p: float
    p_adjusted: float
    adjustment: str
    family_size: int
    mcnemar_p: float | None
    equivalence_p: float | None
    verdict: str
    group_error: float
    seed_error: float
    df: float
    notes: Notes


@dataclass(frozen=True)
class _Moments:
    """A difference with its variance, and what that is made of."""

    difference: float
    variance: float
    df: float
    group_error: float
    seed_error: float

    @property
    def error(self) -> float:
        return float(self.variance**0.5)


@dataclass(frozen=True)
class _Test:
    p: float
    smallest: float
    name: str
    differing: int


def compare_family(aligned: Aligned, pairs: Sequence[Pair], options: Options) -> list[Difference]:
    """Test every pair of a family, and adjust p for how many they are.

    The family `pairs` is adjusted by max-T over the swaps, and by Holm where there are several
    seeds, for which swaps are not defined; the family `freezing` is adjusted by Holm.

    Parameters
    ----------
    aligned : Aligned
        The runs of all methods.
    pairs : sequence of (slice, slice)
        The places in `aligned` of the runs of methods a and b, one a seed.
    options : Options
        `margin` adds the test of equivalence.
    """
    paired, metric = aligned.paired, options.metric
    values = paired.estimates(metric)
    left, counts = leave_out_values(paired, metric)
    moments = [_moments(values, left, counts, pair) for pair in pairs]
    single = [row for row, pair in enumerate(pairs) if _is_single(pair)]
    tests = {
        row: _t_test(moments[row], _differing(paired, pair, metric))
        for row, pair in enumerate(pairs)
        if row not in single
    }
    adjustment, drawn = "Holm", None
    if single:
        runs = [(pairs[row][0].start, pairs[row][1].start) for row in single]
        rng = np.random.default_rng(options.seed)
        swaps = swap_units(paired, metric, runs, options.replicates, rng)
        tests |= zip(single, _swap_tests(swaps, aligned.unit), strict=True)
        if options.family == "pairs" and not len(tests) > len(single):
            adjustment = "max-T"
        if paired.n_units >= MANY_UNITS:
            rng = np.random.default_rng(options.seed)
            drawn = replicate_values(paired, metric, options.replicates, rng)
    p = [tests[row].p for row in range(len(pairs))]
    adjusted = max_t(swaps) if adjustment == "max-T" else holm(p)
    found = []
    for row, (a, b) in enumerate(pairs):
        own = None if drawn is None or row not in single else drawn[a.start] - drawn[b.start]
        low, high, method = _interval(moments[row], own, single=row in single)
        equivalence = _equivalence(moments[row], tests[row], paired.n_units, options.margin)
        found.append(
            Difference(
                estimate_a=float(values[a].mean()),
                estimate_b=float(values[b].mean()),
                difference=moments[row].difference,
                low=low,
                high=high,
                method=method,
                p=tests[row].p,
                test=tests[row].name,
                smallest_p=tests[row].smallest,
                p_adjusted=float(adjusted[row]),
                adjustment=adjustment,
                family_size=len(pairs),
                mcnemar_p=_mcnemar(aligned, metric, (a, b)),
                equivalence_p=equivalence,
                verdict=verdict(moments[row].difference, adjusted[row], equivalence, metric),
                group_error=moments[row].group_error,
                seed_error=moments[row].seed_error,
                df=moments[row].df,
                notes=(*aligned.notes, *_notes(moments[row], tests[row], (a, b), aligned)),
            )
        )
    return found


def adjust_by_holm(found: Sequence[Difference], metric: str) -> list[Difference]:
    """Adjust differences that were tested one by one as one family, and decide again."""
    adjusted = holm([one.p for one in found])
    return [
        replace(
            one,
            p_adjusted=float(p),
            adjustment="Holm",
            family_size=len(found),
            verdict=verdict(one.difference, float(p), one.equivalence_p, metric),
        )
        for one, p in zip(found, adjusted, strict=True)
    ]


def verdict(difference: float, p: float, equivalence: float | None, metric: str) -> str:
    """Say better or worse if the test shows it, else equivalent within the margin, or undecided."""
    if p < ALPHA:
        return "better" if (difference > 0) == find_metric(metric).higher else "worse"
    return "equivalent" if equivalence is not None and equivalence < ALPHA else "undecided"


def mcnemar_p(a_only: int, b_only: int) -> float:
    """Test exactly whether those that one run alone got right are evenly split (McNemar 1947)."""
    from scipy.stats import binomtest

    total = a_only + b_only
    return float(binomtest(a_only, total).pvalue) if total else 1.0


def equivalence_p(difference: float, error: float, margin: float, df: float) -> float:
    """Test by two one-sided t-tests (Schuirmann 1987) whether it lies in -margin … margin."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if abs(difference) < margin else 1.0
    return float(1 - stdtr(df, (margin - abs(difference)) / error))


def few_differ_p(differing: int, units: int, margin: float) -> float:
    """Test what equivalence needs too where so few units differ that t knows too little.

    Accuracies differ by no more than the share of units that differ: p is the chance of so few, if
    that share were the margin (Clopper and Pearson 1934); 0 from 10 units on.
    """
    from scipy.stats import binom

    if differing >= FEWEST_DIFFERING:
        return 0.0
    return float(binom.cdf(differing, units, min(margin, 1.0)))


def t_p(difference: float, error: float, df: float) -> float:
    """Compute the two-sided p of Student's t; 1 where nothing varies, so nothing is tested."""
    from scipy.special import stdtr

    return float(2 * stdtr(df, -abs(difference) / error)) if error > 0 else 1.0


def _is_single(pair: Pair) -> bool:
    return all(part.stop - part.start == 1 for part in pair)


def _moments(values: Array, left: Array, counts: Codes, pair: Pair) -> _Moments:
    """Sum the variance between groups and that between the seeds of each method."""
    a, b = pair
    error = jackknife_error(left[a].mean(0) - left[b].mean(0), counts)
    several = [part for part in pair if part.stop - part.start > 1]
    between = [float(values[part].var(ddof=1)) / len(values[part]) for part in several]
    sizes = [int(counts.sum()), *(len(values[part]) for part in several)]
    variance, df = satterthwaite([error**2, *between], sizes)
    centre = float(values[a].mean() - values[b].mean())
    return _Moments(centre, variance, df, error, float(sum(between) ** 0.5) if several else np.nan)


def _t_test(moments: _Moments, differing: int) -> _Test:
    p = t_p(moments.difference, moments.error, moments.df)
    return _Test(p, float("nan"), "Student's t", differing)


def _swap_tests(swaps: Swaps, unit: str) -> list[_Test]:
    name = "swaps of whole groups" if unit == "group" else "swaps of images"
    rows = zip(*swap_p_values(swaps), swaps.n_differing, strict=True)
    return [_Test(float(p), float(least), name, int(differing)) for p, least, differing in rows]


def _differing(paired: Paired, pair: Pair, metric: str) -> int:
    """Count the units in which some run of the one method differs from some run of the other."""
    runs = [(a, b) for a in _places(pair[0]) for b in _places(pair[1])]
    if of_probabilities(metric):
        scores = paired.probabilities(metric)
        return int(np.any([scores.differing(*one) for one in runs], axis=0).sum())
    return int(paired.counts @ np.any([paired.differing(*one) for one in runs], axis=0))


def _places(part: slice) -> range:
    return range(part.start, part.stop)


def _interval(moments: _Moments, drawn: Array | None, *, single: bool) -> tuple[float, float, str]:
    """Take jackknife-t with few units or several seeds, else the percentiles of `drawn`."""
    from scipy.special import stdtrit

    method = "paired jackknife-t" if single else "paired jackknife-t over seeds"
    method = "paired percentile" if drawn is not None else method
    # Where nothing varies, an interval of no width would claim what nobody knows.
    if not moments.variance > 0:
        return float("nan"), float("nan"), method
    if drawn is not None:
        low, high, _ = percentile_bounds(drawn)
        return low, high, method
    reach = float(stdtrit(moments.df, 1 - TAIL)) * moments.error
    return moments.difference - reach, moments.difference + reach, method


def _equivalence(moments: _Moments, test: _Test, units: int, margin: float | None) -> float | None:
    if margin is None:
        return None
    by_t = equivalence_p(moments.difference, moments.error, margin, moments.df)
    return max(by_t, few_differ_p(test.differing, units, margin))


def _mcnemar(aligned: Aligned, metric: str, pair: Pair) -> float | None:
    if not aligned.alone or metric != "accuracy" or not _is_single(pair):
        return None
    paired = aligned.paired
    right = np.trace(paired.matrices, axis1=-2, axis2=-1)
    a, b = right[:, pair[0].start], right[:, pair[1].start]
    a_only, b_only = (int(paired.counts @ ((x == 1) & (y == 0))) for x, y in ((a, b), (b, a)))
    return mcnemar_p(a_only, b_only)


def _notes(moments: _Moments, test: _Test, pair: Pair, aligned: Aligned) -> list[Note]:
    notes = []
    if test.differing == 0:
        notes.append(NEVER_DIFFER)
    elif moments.variance == 0 and aligned.paired.n_units > 1:
        notes.append(NOTHING_VARIES)
    if test.differing and test.smallest >= ALPHA:
        few = f"Too few {aligned.unit}s differ for p to fall below {test.smallest:.2g}"
        notes.append(Note(f"{few}: no test can decide."))
    if min(part.stop - part.start for part in pair) == 1:
        notes.append(NOT_THE_METHODS)
    return notes

"""Differences of methods on the same images, each with its interval and its test.

The one place where a difference is tested. With one seed each the two runs' predictions of whole
groups are swapped, and the result is about these trained models. With more seeds the variance is
that between groups of the difference of means (delete-one-group jackknife, paired) plus s² / S of
each method's seeds, and p is of Student's t, because swaps know nothing of seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from frostline.report.notes import Note, Notes
from frostline.report.statistics.comparisons.aligned import Aligned
from frostline.report.statistics.comparisons.decisions import (
    ALPHA,
    IDENTICAL,
    equivalence_p,
    few_differ_p,
    mcnemar_p,
    t_p,
    verdict,
)
from frostline.report.statistics.comparisons.multiplicity import holm, max_t
from frostline.report.statistics.comparisons.paired import (
    Paired,
    leave_out_values,
    replicate_values,
)
from frostline.report.statistics.comparisons.swaps import Swaps, swap_p_values, swap_units
from frostline.report.statistics.intervals.bounds import TAIL, percentile_bounds
from frostline.report.statistics.intervals.flags import MANY_UNITS, flag
from frostline.report.statistics.metrics import Array, Codes, of_rows
from frostline.report.statistics.resampling.jackknife import jackknife_error, satterthwaite

NOT_THE_METHODS = Note("One seed: these trained models, not the methods.")
NEVER_DIFFER = "No interval: the two are equally good in every {unit}."
NOTHING_VARIES = "No interval: nothing varies between {unit}s or seeds."
ONE_UNIT = "No interval: one {unit} alone shows no variation."
UNDEFINED = "No interval: undefined when one {unit} is left out."


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
    Of identical predictions nothing is tested: bounds and p are NaN, and `verdict` says so.
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
    tests, swaps = _test_all(aligned, pairs, moments, options)
    drawn = _replicates(paired, options) if swaps is not None else None
    # Swaps of all pairs are one joint law; with several seeds there is none.
    joint = options.family == "pairs" and all(map(_is_single, pairs))
    adjusted = max_t(swaps) if joint and swaps is not None else holm([one.p for one in tests])
    contents = paired.contents(metric)
    found = []
    for pair, one, test, p in zip(pairs, moments, tests, adjusted, strict=True):
        low, high, method, why = _interval(one, pair, drawn)
        equivalence = _equivalence(one, test, paired.n_units, options.margin)
        tested = Difference(
            estimate_a=float(values[pair[0]].mean()),
            estimate_b=float(values[pair[1]].mean()),
            difference=one.difference,
            low=low,
            high=high,
            method=method,
            p=test.p,
            test=test.name,
            smallest_p=test.smallest,
            p_adjusted=float(p),
            adjustment="max-T" if joint else "Holm",
            family_size=len(pairs),
            mcnemar_p=_mcnemar(aligned, metric, pair),
            equivalence_p=equivalence,
            verdict=verdict(one.difference, float(p), equivalence, metric),
            group_error=one.group_error,
            seed_error=one.seed_error,
            df=one.df,
            notes=(*aligned.notes, *_notes(one, test, pair, aligned, why, metric)),
        )
        same = _shares(contents[pair[0]]) == _shares(contents[pair[1]])
        found.append(_identical(tested, aligned.notes) if same else tested)
    return found


def adjust_by_holm(found: Sequence[Difference], metric: str) -> list[Difference]:
    """Adjust differences that were tested one by one as one family, and decide again."""
    adjusted = holm([1.0 if one.verdict == IDENTICAL else one.p for one in found])
    return [
        replace(
            one,
            p_adjusted=float(p),
            adjustment="Holm",
            family_size=len(found),
            verdict=verdict(one.difference, float(p), one.equivalence_p, metric),
        )
        if one.verdict != IDENTICAL
        else replace(one, family_size=len(found))
        for one, p in zip(found, adjusted, strict=True)
    ]


def _shares(contents: Sequence[Hashable]) -> dict[Hashable, float]:
    """Say what share of a method's seeds gave the same predictions."""
    return {key: times / len(contents) for key, times in Counter(contents).items()}


def _identical(tested: Difference, notes: Notes) -> Difference:
    """Say of two methods with the same predictions that they are, and nothing of a test."""
    nan = float("nan")
    return replace(
        tested,
        # Means over the same seeds in another order may round apart.
        difference=round(tested.difference, 12) + 0.0,
        low=nan,
        high=nan,
        method="",
        p=nan,
        test="",
        smallest_p=nan,
        p_adjusted=nan,
        mcnemar_p=None,
        equivalence_p=None,
        verdict=IDENTICAL,
        notes=notes,
    )


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


def _test_all(
    aligned: Aligned, pairs: Sequence[Pair], moments: Sequence[_Moments], options: Options
) -> tuple[list[_Test], Swaps | None]:
    """Test pairs of one seed each by swaps, which are drawn for all of them together, else by t."""
    paired, metric = aligned.paired, options.metric
    tests: list[_Test] = []
    single = [(a.start, b.start) for a, b in pairs if _is_single((a, b))]
    swaps: Swaps | None = None
    swapped: Iterator[_Test] = iter(())
    if single:
        rng = np.random.default_rng(options.seed)
        swaps = swap_units(paired, metric, single, options.replicates, rng)
        swapped = iter(_swap_tests(swaps, aligned.unit))
    for pair, one in zip(pairs, moments, strict=True):
        if _is_single(pair):
            tests.append(next(swapped))
        else:
            p = t_p(one.difference, one.error, one.df)
            differing = _differing(paired, pair, metric)
            tests.append(_Test(p, float("nan"), "Student's t", differing))
    return tests, swaps


def _swap_tests(swaps: Swaps, unit: str) -> list[_Test]:
    name = "swaps of whole groups" if unit == "group" else "swaps of images"
    rows = zip(*swap_p_values(swaps), swaps.n_differing, strict=True)
    return [_Test(float(p), float(least), name, int(differing)) for p, least, differing in rows]


def _replicates(paired: Paired, options: Options) -> Array | None:
    """Resample all runs together where there are units enough for percentiles: [M, B]."""
    if paired.n_units < MANY_UNITS:
        return None
    rng = np.random.default_rng(options.seed)
    return replicate_values(paired, options.metric, options.replicates, rng)


def _differing(paired: Paired, pair: Pair, metric: str) -> int:
    """Count the units in which some run of the one method differs from some run of the other."""
    runs = [(a, b) for a in _places(pair[0]) for b in _places(pair[1])]
    if of_rows(metric):
        scores = paired.by_rows(metric)
        return int(np.any([scores.differing(*one) for one in runs], axis=0).sum())
    return int(paired.counts @ np.any([paired.differing(*one) for one in runs], axis=0))


def _places(part: slice) -> range:
    return range(part.start, part.stop)


def _interval(moments: _Moments, pair: Pair, drawn: Array | None) -> tuple[float, float, str, str]:
    """Take jackknife-t with few units or several seeds, else the percentiles of `drawn` [M, B].

    Gives low, high, the method, and what is to be said of replicates that are undefined.
    """
    from scipy.special import stdtrit

    single = _is_single(pair)
    method = "paired jackknife-t" if single else "paired jackknife-t over seeds"
    method = "paired percentile" if single and drawn is not None else method
    # Where nothing varies, an interval of no width would claim what nobody knows.
    if not moments.variance > 0:
        return float("nan"), float("nan"), method, ""
    if single and drawn is not None:
        low, high, why = percentile_bounds(drawn[pair[0].start] - drawn[pair[1].start])
        return low, high, method, why
    reach = float(stdtrit(moments.df, 1 - TAIL)) * moments.error
    return moments.difference - reach, moments.difference + reach, method, ""


def _equivalence(moments: _Moments, test: _Test, units: int, margin: float | None) -> float | None:
    if margin is None:
        return None
    by_t = equivalence_p(moments.difference, moments.error, margin, moments.df)
    return max(by_t, few_differ_p(test.differing, units, margin))


def _flags(aligned: Aligned, pair: Pair, metric: str) -> list[Note]:
    """Say what there is to distrust of each method's score; of both, once."""
    owners: dict[Note, list[str]] = {}
    for place in (*_places(pair[0]), *_places(pair[1])):
        for note in flag(metric, aligned.samples[place]):
            owners.setdefault(replace(note, metrics=()), []).append(aligned.names[place])
    return [replace(note, runs=tuple(names)) for note, names in owners.items()]


def _why_none(moments: _Moments, test: _Test, aligned: Aligned) -> str:
    """Say why a difference has no interval."""
    if aligned.paired.n_units < 2:
        return ONE_UNIT
    if np.isnan(moments.variance):
        return UNDEFINED
    return NEVER_DIFFER if test.differing == 0 else NOTHING_VARIES


def _mcnemar(aligned: Aligned, metric: str, pair: Pair) -> float | None:
    if not aligned.alone or metric != "accuracy" or not _is_single(pair):
        return None
    paired = aligned.paired
    right = np.trace(paired.matrices, axis1=-2, axis2=-1)
    a, b = right[:, pair[0].start], right[:, pair[1].start]
    a_only, b_only = (int(paired.counts @ ((x == 1) & (y == 0))) for x, y in ((a, b), (b, a)))
    return mcnemar_p(a_only, b_only)


def _notes(
    moments: _Moments, test: _Test, pair: Pair, aligned: Aligned, why: str, metric: str
) -> list[Note]:
    notes = [Note(why)] if why else []
    if not moments.variance > 0:
        notes.append(Note(_why_none(moments, test, aligned).format(unit=aligned.unit)))
    notes += _flags(aligned, pair, metric)
    if test.differing and test.smallest >= ALPHA:
        few = f"Too few {aligned.unit}s differ for p to fall below {test.smallest:.2g}"
        notes.append(Note(f"{few}: no test can decide."))
    if min(part.stop - part.start for part in pair) == 1:
        notes.append(NOT_THE_METHODS)
    return notes

"""Differences of methods on the same images, each with its test and the interval of that test.

The one place where a difference is tested. With one seed each the signs of what groups contribute
are flipped, and the result is about these trained models (`flips.py`). With more seeds it is
Student's t of the variance of groups and seeds (`seeds_variance.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frostline.report.notes import Note, Notes
from frostline.report.statistics.comparisons.aligned import Aligned
from frostline.report.statistics.comparisons.contributions import (
    Contributions,
    Step,
    contributions,
    no_step,
)
from frostline.report.statistics.comparisons.decisions import (
    ALPHA,
    IDENTICAL,
    LEVEL,
    few_differ_bound,
    few_differ_p,
    mcnemar_p,
    verdict,
)
from frostline.report.statistics.comparisons.flips import (
    MOST_ENUMERATED,
    SignFlips,
    kept_sums,
)
from frostline.report.statistics.comparisons.multiplicity import Bonferroni, Family, MaxT, Test
from frostline.report.statistics.comparisons.paired import Paired
from frostline.report.statistics.comparisons.planning import Errors, pair_alpha
from frostline.report.statistics.intervals.bounds import NEGLIGIBLE
from frostline.report.statistics.intervals.exact import ALIKE, ExactTest, end_test
from frostline.report.statistics.intervals.flags import flag, unknown
from frostline.report.statistics.intervals.reasons import (
    ONE_UNIT,
    TOO_FEW,
    UNVARYING,
    says_nothing,
    undefined,
)
from frostline.report.statistics.metrics import Array, find_metric, of_rows
from frostline.report.statistics.resampling.seeds_variance import (
    SeedsPart,
    SeedsTest,
    group_variance,
    null_variance,
    seeds_part,
    seeds_test,
)
from frostline.report.statistics.sample import Sample

NOT_THE_METHODS = Note("One seed: these trained models, not the methods.")
NEVER_DIFFER = "No interval: the two are equally good in every {unit}."
# An end of an equivalence interval that lies beyond so many doublings of the margin is infinite.
MOST_DOUBLINGS = 20
NAN = float("nan")


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
    """Method a minus method b, each the mean over its seeds.

    `low` and `high` are the simultaneous 95% interval of the family, which leaves out 0 exactly if
    `p_adjusted` is below 0.05; `pair_low` and `pair_high` are the pair's own, which goes with `p`.
    `equivalence_low` and `equivalence_high` are the simultaneous 90% interval of two one-sided
    tests; None without a margin, as `equivalence_p` is.
    `group_error` is the standard error from groups, `seed_error` what seeds add to it (NaN where
    neither method has a second seed); `smallest_p` is the smallest that the test could give (NaN
    of other tests). `mcnemar_p` is None where it does not apply.
    `groups_needed` is how many units would decide a true difference of this size (80% power):
    infinite where no number would, and more than there are where these left it undecided; with
    `effective_units`, the effective number of those at hand, and `pair_alpha`, the level of this
    pair's own test in the family, it can be planned for other differences (`planning.py`).
    Of identical predictions nothing is tested: bounds and p are NaN, and `verdict` says so.
    """

    estimate_a: float
    estimate_b: float
    difference: float
    low: float
    high: float
    pair_low: float
    pair_high: float
    p: float
    test: str
    smallest_p: float
    p_adjusted: float
    adjustment: str
    family_size: int
    mcnemar_p: float | None
    equivalence_low: float | None
    equivalence_high: float | None
    equivalence_p: float | None
    verdict: str
    group_error: float
    seed_error: float
    df: float
    effective_units: float
    pair_alpha: float
    groups_needed: float
    notes: Notes


@dataclass(frozen=True)
class _Contrast:
    """A pair of methods: what units contribute to their difference, and what seeds add."""

    pair: Pair
    difference: float
    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    variance: float
    df: float
    parts: tuple[tuple[slice, SeedsPart], ...]

    @property
    def single(self) -> bool:
        """Whether each method has one seed."""
        return all(part.stop - part.start == 1 for part in self.pair)

    @property
    def error(self) -> float:
        """Standard error from groups and seeds."""
        return float((self.variance + sum(part.variance for _, part in self.parts)) ** 0.5)


Tested = tuple[_Contrast, Test]


def compare_family(
    aligned: Aligned,
    pairs: Sequence[Pair],
    options: Options,
    *,
    size: int | None = None,
    step: Step = no_step,
) -> list[Difference]:
    """Test every pair of a family, and adjust p and intervals for how many they are.

    Parameters
    ----------
    aligned : Aligned
        The runs of all methods.
    pairs : sequence of (slice, slice)
        The places in `aligned` of the runs of methods a and b, one a seed.
    options : Options
        `margin` adds the test of equivalence.
    size : int, optional
        Pairs of the family, where each is aligned on images of its own; these by default.
    step : callable
        Called after every run and every pair.
    """
    made = contributions(aligned.paired, options.metric, step)
    values = aligned.paired.estimates(options.metric)
    contrasts = [_contrast(made, values, pair) for pair in pairs]
    contents = aligned.paired.contents(options.metric)
    same = [_shares(contents[a]) == _shares(contents[b]) for a, b in pairs]
    known = {
        i: one
        for i, one in enumerate(contrasts)
        if not same[i] and not _unknown(aligned, one.pair, options.metric)
    }
    still = {
        i: _exact_test(aligned, options.metric, one, mean=made.exact)
        for i, one in known.items()
        if one.error == 0
    }
    defined = [i for i, one in known.items() if one.error > 0]
    tests, largest = _test_all(made, [contrasts[i] for i in defined], options)
    largest = _with_exact(largest, sum(one is not None for one in still.values()), options)
    family: Family = Bonferroni(1 if size is None else size)
    if size is None and len(pairs) > 1:
        family = MaxT(largest)
    found = []
    for i, one in enumerate(contrasts):
        test = next(tests) if i in defined else still.get(i)
        tested = _difference(aligned, options, one, values, (test, family))
        tested = replace(tested, family_size=len(pairs) if size is None else size)
        tested = _planned(tested, one, aligned.paired.n_units, (test, family))
        found.append(_identical(tested, aligned.notes) if same[i] else tested)
        step()
    return found


def _planned(
    tested: Difference, one: _Contrast, units: int, how: tuple[Test | None, Family]
) -> Difference:
    """Say how many units would decide the difference."""
    test, family = how
    if isinstance(test, ExactTest) and tested.verdict == "undecided":
        needed = test.units_needed(units, ALPHA / tested.family_size)
        return replace(tested, groups_needed=max(needed, units + 1.0))
    if not isinstance(test, SignFlips | SeedsTest):
        return tested
    df = one.df if one.single else _df(test)
    alpha = pair_alpha(test, family, tested.family_size, one.error, df)
    below = sum(part.whole**2 / (part.seeds - 1) for _, part in one.parts)
    seeds = sum(part.variance for _, part in one.parts)
    methods = tuple(part.seeds for _, part in one.parts)
    errors = Errors(units, one.df + 1, one.variance, seeds, below, methods, alpha)
    needed = errors.needed(one.difference)
    if tested.verdict == "undecided":
        needed = max(needed, units + 1.0)
    return replace(tested, pair_alpha=alpha, groups_needed=needed)


def _exact_test(aligned: Aligned, metric: str, one: _Contrast, *, mean: bool) -> ExactTest | None:
    """Make the exact test of a pair that leaving out any unit leaves as it is, where there is one.

    Of a metric that is a `mean` over images such a difference is the same in every unit; of any
    other the pseudo-values do not vary.
    """
    most = _most(metric)
    if mean and np.isfinite(most):
        name = ALIKE.format(unit=aligned.unit)
        return ExactTest(one.difference, -most, most, one.df + 1, name)
    values = aligned.paired.estimates(metric)
    scores = tuple(values[part] for part in one.pair)
    if any(np.ptp(own) > 0 for own in scores):
        return None
    a, b = (float(own[0]) for own in scores)
    return end_test(metric, (a, b), (aligned.samples[one.pair[0]], aligned.samples[one.pair[1]]))


def _with_exact(largest: Array, count: int, options: Options) -> Array:
    """Give the exact tests their place in the law of the largest statistic: [B].

    They have no signs to flip; each adds an independent standard normal draw.
    """
    if not count:
        return largest
    rng = np.random.default_rng(options.seed)
    drawn = np.abs(rng.standard_normal((len(largest) or options.replicates, count))).max(1)
    return np.maximum(largest, drawn) if len(largest) else drawn


def _contrast(made: Contributions, values: Array, pair: Pair) -> _Contrast:
    a, b = pair
    residuals = made.residuals[:, a].mean(1) - made.residuals[:, b].mean(1)
    weights = (made.weights[:, a].mean(1) + made.weights[:, b].mean(1)) / 2
    parts = [
        (s, seeds_part(values[s], made.residuals[:, s], made.weights[:, s], made.counts))
        for s in pair
    ]
    found = _Contrast(
        pair,
        float(values[a].mean() - values[b].mean()),
        residuals,
        weights,
        made.counts,
        *group_variance(residuals, weights, made.counts),
        tuple((where, part) for where, part in parts if part is not None),
    )
    if found.error > NEGLIGIBLE * np.abs(np.concatenate([values[a], values[b]])).max():
        return found
    # Nothing but rounding, or undefined.
    none = tuple((where, SeedsPart(0.0, 0.0, part.seeds)) for where, part in found.parts)
    return replace(found, variance=0.0 * found.variance, parts=none)


def _test_all(
    made: Contributions, contrasts: Sequence[_Contrast], options: Options
) -> tuple[Iterator[Test], Array]:
    """Make the test of each contrast, and draw the largest statistic of them all: [B]."""
    if not contrasts:
        return iter(()), np.zeros(0)
    residuals = np.stack([one.residuals for one in contrasts], axis=1)
    weights = np.stack([one.weights for one in contrasts], axis=1)
    matters = ((residuals != 0) | (weights != 0)).any(1)
    units = residuals[matters], weights[matters], made.counts[matters]
    rng = np.random.default_rng(options.seed)
    flipped = [one.single for one in contrasts]
    if any(flipped):
        standard, _ = kept, kept_weight = kept_sums(*units, options.replicates, rng)
    if not all(flipped):
        # Seeds are drawn, and so are signs, that there be as many of both.
        standard, _ = kept_sums(*units, options.replicates, rng, drawn=True)
    spread = np.sqrt(units[2] @ units[0] ** 2)
    standard = 2 * standard / np.where(spread > 0, spread, 1.0)
    noise = {
        (where.start, where.stop): rng.standard_normal(len(standard)) * part.variance**0.5
        for one in contrasts
        for where, part in one.parts
    }
    largest = np.zeros(len(standard))
    for j, one in enumerate(contrasts):
        drawn = one.variance**0.5 * standard[:, j]
        for sign, where in zip((1, -1), one.pair, strict=True):
            drawn = drawn + sign * noise.get((where.start, where.stop), 0.0)
        largest = np.maximum(largest, np.abs(drawn) / one.error)
    tests: Iterator[Test] = (
        SignFlips(
            one.difference,
            units[0][:, j],
            units[1][:, j],
            units[2],
            kept[:, j],
            kept_weight[:, j],
        )
        if one.single
        else seeds_test(one.difference, (one.variance, one.df), [part for _, part in one.parts])
        for j, one in enumerate(contrasts)
    )
    return tests, largest


def _difference(
    aligned: Aligned,
    options: Options,
    one: _Contrast,
    values: Array,
    tested: tuple[Test | None, Family],
) -> Difference:
    """Take p, intervals and verdict from a test, or say why nothing was tested."""
    metric, (test, family) = options.metric, tested
    p = p_adjusted = NAN
    own = shown = (NAN, NAN)
    equivalence: tuple[float | None, ...] = (None, None, None)
    differing = _differing(aligned.paired, one.pair, metric)
    if test is not None:
        p, p_adjusted = test.p(), family.p(test)
        own = _bounded(test.interval(LEVEL), metric)
        shown = _bounded(family.interval(test, LEVEL), metric)
        if options.margin is not None:
            few = differing, aligned.paired.n_units
            low, high, equivalence_p = _equivalence((one, test), family, options.margin, few)
            most = _most(metric)
            equivalence = max(low, -most), min(high, most), equivalence_p
    smallest = NAN
    if isinstance(test, SignFlips):
        smallest = _smallest_p(differing, aligned.paired.n_units, options.replicates)
    return Difference(
        estimate_a=float(values[one.pair[0]].mean()),
        estimate_b=float(values[one.pair[1]].mean()),
        difference=one.difference,
        low=shown[0],
        high=shown[1],
        pair_low=own[0],
        pair_high=own[1],
        p=p,
        test=_test_name(one, test, aligned.unit),
        smallest_p=smallest,
        p_adjusted=p_adjusted,
        adjustment=family.name,
        family_size=1,
        mcnemar_p=_mcnemar(aligned, metric, one),
        equivalence_low=equivalence[0],
        equivalence_high=equivalence[1],
        equivalence_p=equivalence[2],
        verdict=verdict(one.difference, p_adjusted, equivalence[2], metric),
        group_error=float(one.variance**0.5),
        seed_error=float(sum(part.variance for _, part in one.parts) ** 0.5) if one.parts else NAN,
        df=_df(test),
        effective_units=one.df + 1,
        pair_alpha=NAN,
        groups_needed=NAN,
        notes=(*aligned.notes, *_notes(aligned, one, metric, (p, shown[0], differing, smallest))),
    )


def _identical(tested: Difference, notes: Notes) -> Difference:
    """Say of two methods with the same predictions that they are, and nothing of a test."""
    return replace(
        tested,
        # Means over the same seeds in another order may round apart.
        difference=round(tested.difference, 12) + 0.0,
        low=NAN,
        high=NAN,
        pair_low=NAN,
        pair_high=NAN,
        p=NAN,
        test="",
        smallest_p=NAN,
        p_adjusted=NAN,
        pair_alpha=NAN,
        groups_needed=NAN,
        mcnemar_p=None,
        equivalence_low=None,
        equivalence_high=None,
        equivalence_p=None,
        verdict=IDENTICAL,
        notes=notes,
    )


def _shares(contents: Sequence[Hashable]) -> dict[Hashable, float]:
    """Say what share of a method's seeds gave the same predictions."""
    return {key: times / len(contents) for key, times in Counter(contents).items()}


def _most(metric: str) -> float:
    """Give the largest difference that there can be."""
    bounds = find_metric(metric).bounds
    return np.inf if bounds is None else bounds[1] - bounds[0]


def _bounded(interval: tuple[float, float], metric: str) -> tuple[float, float]:
    """Cut an interval at the largest difference there can be; NaN where it `says_nothing`."""
    bounds, most = find_metric(metric).bounds, _most(metric)
    low, high = max(interval[0], -most), min(interval[1], most)
    nothing = says_nothing(low, high, None if bounds is None else (-most, most))
    return (NAN, NAN) if nothing else (low, high)


def _equivalence(
    pair: Tested, family: Family, margin: float, few: tuple[int, int]
) -> tuple[float, float, float]:
    """Give the 90% interval of two one-sided tests (Schuirmann 1987), and their p.

    `few` is how many units differ, of how many.
    """
    low, high = (_farthest(pair, family, side, margin) for side in (-1, 1))
    least = few_differ_bound(*few)
    if least > 0:
        low, high = min(low, -least), max(high, least)
    outside = abs(pair[0].difference) >= margin
    p = 1.0 if outside else max(_one_sided_p(pair, family, end) for end in (-margin, margin))
    return low, high, max(p, few_differ_p(*few, margin))


def _one_sided_p(pair: Tested, family: Family, delta: float) -> float:
    """Give the adjusted p of a true difference of `delta` against one nearer to the estimate.

    Student's t with the variance that such a difference has, or the exact test; half of the
    two-sided p.
    """
    one, exact = pair
    if isinstance(exact, ExactTest):
        return family.p(exact, delta) / 2
    residuals = one.residuals + (one.difference - delta) * one.weights
    group = null_variance(residuals, one.weights, one.counts)
    test = seeds_test(one.difference, group, [part for _, part in one.parts])
    return family.p(test, delta) / 2


def _farthest(pair: Tested, family: Family, side: int, margin: float) -> float:
    """Give the farthest difference on a side whose one-sided p is at least 5%.

    It is sought from the margin: inwards if that is rejected, else outwards.
    """
    from scipy.optimize import bisect

    one, _ = pair

    def excess(reach: float) -> float:
        return _one_sided_p(pair, family, one.difference + side * reach) - ALPHA

    near, far = 0.0, margin - side * one.difference
    if far <= 0:
        far = margin
    for _ in range(MOST_DOUBLINGS):
        if excess(far) < 0:
            reach = bisect(excess, near, far, xtol=1e-10)
            return float(one.difference + side * reach)
        near, far = far, 2 * far
    return side * np.inf


def _test_name(one: _Contrast, test: Test | None, unit: str) -> str:
    if isinstance(test, ExactTest):
        return test.name
    return f"sign flips of {unit}s" if one.single else "Student's t of groups and seeds"


def _df(test: Test | None) -> float:
    return test.df if isinstance(test, SeedsTest) else NAN


def _smallest_p(differing: int, units: int, replicates: int) -> float:
    """Give the smallest p of sign flips: if all units that differ did so in one direction."""
    possible = min(0.5**differing + 0.5**units, 1.0)
    return possible if units <= MOST_ENUMERATED else max(possible, 1 / (replicates + 1))


def _differing(paired: Paired, pair: Pair, metric: str) -> int:
    """Count the units in which some run of the one method differs from some run of the other."""
    runs = [(a, b) for a in _places(pair[0]) for b in _places(pair[1])]
    if of_rows(metric):
        scores = paired.by_rows(metric)
        return int(np.any([scores.differing(*one) for one in runs], axis=0).sum())
    return int(paired.counts @ np.any([paired.differing(*one) for one in runs], axis=0))


def _places(part: slice) -> range:
    return range(part.start, part.stop)


def _mcnemar(aligned: Aligned, metric: str, one: _Contrast) -> float | None:
    if not aligned.alone or metric != "accuracy" or not one.single:
        return None
    paired = aligned.paired
    right = np.trace(paired.matrices, axis1=-2, axis2=-1)
    a, b = (right[:, part.start] for part in one.pair)
    a_only, b_only = (int(paired.counts @ ((x == 1) & (y == 0))) for x, y in ((a, b), (b, a)))
    return mcnemar_p(a_only, b_only)


def _notes(
    aligned: Aligned, one: _Contrast, metric: str, found: tuple[float, float, int, float]
) -> list[Note]:
    """Say why there is no interval, what to distrust, and whether any test could decide."""
    p, low, differing, smallest = found
    notes = []
    if np.isnan(low):
        none = _unknown(aligned, one.pair, metric)
        notes += none or [_why_none(one, (p, differing), metric, aligned)]
    notes += _of_scores(aligned, one.pair, metric, flag)
    if differing and smallest >= ALPHA:
        few = f"Too few {aligned.unit}s differ for p to fall below {smallest:.3f}"
        notes.append(Note(f"{few}: no test can decide."))
    if min(part.stop - part.start for part in one.pair) == 1:
        notes.append(NOT_THE_METHODS)
    return notes


def _why_none(one: _Contrast, found: tuple[float, int], metric: str, aligned: Aligned) -> Note:
    """Say why a difference has no interval."""
    p, differing = found
    unit, text = aligned.unit, UNVARYING
    if aligned.paired.n_units < 2:
        text = ONE_UNIT
    elif np.isnan(one.error):
        return replace(undefined(metric, aligned.samples[one.pair[0].start]), metrics=())
    elif not np.isnan(p):
        text = TOO_FEW
        of_groups = seeds_test(one.difference, (one.variance, one.df), []).interval(LEVEL)
        few_seeds = one.error > 0 and one.parts and not np.isnan(_bounded(of_groups, metric)[0])
        # Groups alone would say something: it is the seeds that are few.
        unit = "seed" if few_seeds else unit
    elif differing == 0:
        text = NEVER_DIFFER
    return Note(text.format(unit=unit))


def _unknown(aligned: Aligned, pair: Pair, metric: str) -> list[Note]:
    """Say which methods have a precision of so few calls that nothing is known of it."""
    return _of_scores(aligned, pair, metric, unknown)


def _of_scores(
    aligned: Aligned, pair: Pair, metric: str, say: Callable[[str, Sample], Notes]
) -> list[Note]:
    """Give the notes on each method's score; of both, once."""
    owners: dict[Note, list[str]] = {}
    for place in (*_places(pair[0]), *_places(pair[1])):
        for note in say(metric, aligned.samples[place]):
            owners.setdefault(replace(note, metrics=()), []).append(aligned.names[place])
    return [replace(note, runs=tuple(names)) for note, names in owners.items()]

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

from frostline.report.notes import Note, Notes
from frostline.report.statistics.comparisons.aligned import Aligned
from frostline.report.statistics.comparisons.contributions import (
    Contrast,
    Contributions,
    Pair,
    Step,
    contrast,
    contributions,
    no_step,
)
from frostline.report.statistics.comparisons.decisions import (
    ALPHA,
    IDENTICAL,
    LEVEL,
    mcnemar_p,
    verdict,
)
from frostline.report.statistics.comparisons.equivalence import equivalence
from frostline.report.statistics.comparisons.flips import (
    SignFlips,
    kept_sums,
)
from frostline.report.statistics.comparisons.multiplicity import Bonferroni, Family, MaxT, Test
from frostline.report.statistics.comparisons.paired import Paired
from frostline.report.statistics.comparisons.planning import Errors, pair_alpha
from frostline.report.statistics.intervals.exact import ALIKE, ExactTest, end_test
from frostline.report.statistics.intervals.flags import flag, unknown
from frostline.report.statistics.intervals.reasons import (
    MOST_TIMES,
    ONE_UNIT,
    TOO_FEW,
    UNVARYING,
    says_nothing,
    undefined,
)
from frostline.report.statistics.metrics import LOSSES, Array, metric_range, of_rows
from frostline.report.statistics.names import OUT_OF_FOLD, again_word
from frostline.report.statistics.resampling.seeds_variance import SeedsTest
from frostline.report.statistics.sample import Sample

ONE_SEED = Note("One seed: this trained model, not the method.")
ONE_REPEAT = Note("One repeat of cross-validation: these folds, not others.")
NOT_THE_METHODS = Note("One seed: these trained models, not the methods.")
AT_RANGE = Note("An interval ends where the metric does: on that side the test excludes nothing.")
NEVER_DIFFER = "No interval: the two are equally good in every {unit}."
NAN = float("nan")


@dataclass(frozen=True)
class Options:
    """How methods are compared; the fields are those of `compare`."""

    metric: str = "accuracy"
    family: str = "pairs"
    margin: float | None = None
    replicates: int = 10_000
    seed: int = 0


@dataclass(frozen=True)
class Difference:
    """Method a minus method b, each the mean over its seeds.

    `low` and `high` are the simultaneous 95% interval of the family, which leaves out 0 exactly if
    `p_adjusted` is below 0.05; `pair_low` and `pair_high` are the pair's own, which goes with `p`.
    `equivalence_low` and `equivalence_high` are the simultaneous 90% interval of two one-sided
    tests; None without a margin, as `equivalence_p` is.
    `group_error` is the standard error from groups, `seed_error` what seeds add to it (NaN where
    neither method has a second seed), and `interaction_error` what of `group_error` is the
    interaction of groups and seeds; `seed_df` are degrees of freedom of `seed_error`, and `df` of
    the whole; `smallest_p` is the smallest that the test could give (NaN
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
    interaction_error: float
    seed_df: float
    df: float
    effective_units: float
    pair_alpha: float
    groups_needed: float
    notes: Notes


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
    contrasts = [contrast(made, values, pair, aligned.seeds) for pair in pairs]
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
    family: Family = Bonferroni(len(pairs) if size is None else size)
    if size is None and len(pairs) > 1 and not any(one.seeds_vary for one in contrasts):
        family = MaxT(largest)
    found = []
    for i, one in enumerate(contrasts):
        test = next(tests) if i in defined else still.get(i)
        tested = _difference(aligned, options, one, values, (test, family))
        tested = replace(tested, family_size=len(pairs) if size is None else size)
        tested = _planned(tested, one, aligned, (test, family))
        found.append(_identical(tested, aligned.notes) if same[i] else tested)
        step()
    return found


def _planned(
    tested: Difference, one: Contrast, aligned: Aligned, how: tuple[Test | None, Family]
) -> Difference:
    """Say how many units would decide the difference."""
    (test, family), units = how, aligned.paired.n_units
    if isinstance(test, ExactTest) and tested.verdict == "undecided":
        needed = test.units_needed(units, ALPHA / tested.family_size)
        return replace(tested, groups_needed=max(needed, units + 1.0))
    if not isinstance(test, SignFlips | SeedsTest):
        return tested
    df = _df(test) if isinstance(test, SeedsTest) else one.df
    alpha = pair_alpha(test, family, tested.family_size, one.error, df)
    folds = aligned.samples[0].split == OUT_OF_FOLD
    errors = Errors(units, one.df + 1, one.variance, one.seeds, alpha, folds)
    needed = errors.needed(one.difference)
    if tested.verdict == "undecided":
        needed = max(needed, units + 1.0)
    return replace(tested, pair_alpha=alpha, groups_needed=needed)


def _exact_test(aligned: Aligned, metric: str, one: Contrast, *, mean: bool) -> ExactTest | None:
    """Make the exact test of a pair that leaving out any unit leaves as it is, where there is one.

    Of a metric that is a `mean` over images such a difference is the same in every unit; of any
    other the pseudo-values do not vary.
    """
    most = _most(metric, aligned.paired.classes)
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


def _test_all(
    made: Contributions, contrasts: Sequence[Contrast], options: Options
) -> tuple[Iterator[Test], Array]:
    """Make the test of each contrast, and draw the largest statistic of them all: [B]."""
    if not contrasts:
        return iter(()), np.zeros(0)
    residuals = np.stack([one.residuals for one in contrasts], axis=1)
    weights = np.stack([one.weights for one in contrasts], axis=1)
    matters = ((residuals != 0) | (weights != 0)).any(1)
    units = residuals[matters], weights[matters], made.counts[matters]
    rng = np.random.default_rng(options.seed)
    flipped = [one.seeds is None for one in contrasts]
    if any(flipped):
        standard, _ = kept, kept_weight = kept_sums(*units, options.replicates, rng)
    if not all(flipped):
        # Student's t knows no arrangements: the law of the largest is drawn, however few units.
        standard, _ = kept_sums(*units, options.replicates, rng, drawn=True)
    spread = np.sqrt(units[2] @ units[0] ** 2)
    largest = np.abs(2 * standard / np.where(spread > 0, spread, 1.0)).max(1)
    tests: Iterator[Test] = (
        SignFlips(
            one.difference,
            units[0][:, j],
            units[1][:, j],
            units[2],
            kept[:, j],
            kept_weight[:, j],
        )
        if one.seeds is None
        else one.test
        for j, one in enumerate(contrasts)
    )
    return tests, largest


def _difference(
    aligned: Aligned,
    options: Options,
    one: Contrast,
    values: Array,
    tested: tuple[Test | None, Family],
) -> Difference:
    """Take p, intervals and verdict from a test, or say why nothing was tested."""
    metric, (test, family) = options.metric, tested
    p = p_adjusted = NAN
    own = shown = (NAN, NAN)
    alike: tuple[float | None, ...] = (None, None, None)
    scores = [float(values[part].mean()) for part in one.pair]
    differing = _differing(aligned.paired, one.pair, metric)
    if test is not None:
        p, p_adjusted, classes = test.p(), family.p(test), aligned.paired.classes
        own = _bounded(test.interval(LEVEL), metric, scores, classes)
        shown = _bounded(family.interval(test, LEVEL), metric, scores, classes)
        if options.margin is not None:
            few = differing, aligned.paired.n_units
            low, high, equivalence_p = equivalence((one, test), family, options.margin, few)
            most = _most(metric, classes)
            alike = max(low, -most), min(high, most), equivalence_p
    found = Difference(
        estimate_a=scores[0],
        estimate_b=scores[1],
        difference=one.difference,
        low=shown[0],
        high=shown[1],
        pair_low=own[0],
        pair_high=own[1],
        p=p,
        test=_test_name(one, test, aligned.unit, again_word(aligned.samples[0].split)),
        smallest_p=test.smallest_p if isinstance(test, SignFlips) else NAN,
        p_adjusted=p_adjusted,
        adjustment=family.name,
        family_size=1,
        mcnemar_p=_mcnemar(aligned, metric, one),
        equivalence_low=alike[0],
        equivalence_high=alike[1],
        equivalence_p=alike[2],
        verdict=verdict(one.difference, p_adjusted, alike[2], metric),
        group_error=float(one.variance**0.5),
        seed_error=one.seed_error,
        interaction_error=_interaction(one),
        seed_df=one.seeds.df if one.seeds is not None and one.seeds_vary else NAN,
        df=_df(test),
        effective_units=one.df + 1,
        pair_alpha=NAN,
        groups_needed=NAN,
        notes=aligned.notes,
    )
    return replace(found, notes=(*found.notes, *_notes(aligned, one, metric, found, differing)))


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


def _most(metric: str, classes: Sequence[str]) -> float:
    """Give the largest difference that there can be."""
    bounds = metric_range(metric, classes)
    return np.inf if bounds is None else bounds[1] - bounds[0]


def _bounded(
    interval: tuple[float, float], metric: str, scores: Sequence[float], classes: Sequence[str]
) -> tuple[float, float]:
    """Cut an interval at the largest difference there can be; NaN where it `says_nothing`.

    A loss has no highest value: there nothing is said by an interval that is far longer than the
    larger of both losses.
    """
    bounds, most = metric_range(metric, classes), _most(metric, classes)
    low, high = max(interval[0], -most), min(interval[1], most)
    nothing = bool(says_nothing(low, high, None if bounds is None else (-most, most)))
    nothing |= metric in LOSSES and high - low > MOST_TIMES * max(scores)
    return (NAN, NAN) if nothing else (low, high)


def _test_name(one: Contrast, test: Test | None, unit: str, again: str) -> str:
    if test is None:
        return ""
    if isinstance(test, ExactTest):
        return test.name
    return f"sign flips of {unit}s" if one.seeds is None else f"Student's t of groups and {again}s"


def _interaction(one: Contrast) -> float:
    return NAN if one.seeds is None else float(one.seeds.shared(one.variance) ** 0.5)


def _df(test: Test | None) -> float:
    return test.df if isinstance(test, SeedsTest) else NAN


def _differing(paired: Paired, pair: Pair, metric: str) -> int:
    """Count the units in which some run of the one method differs from some run of the other."""
    runs = [(a, b) for a in _places(pair[0]) for b in _places(pair[1])]
    if of_rows(metric):
        scores = paired.by_rows(metric)
        return int(np.any([scores.differing(*one) for one in runs], axis=0).sum())
    return int(paired.counts @ np.any([paired.differing(*one) for one in runs], axis=0))


def _places(part: slice) -> range:
    return range(part.start, part.stop)


def _mcnemar(aligned: Aligned, metric: str, one: Contrast) -> float | None:
    if not aligned.alone or metric != "accuracy" or not one.single:
        return None
    paired = aligned.paired
    right = np.trace(paired.matrices, axis1=-2, axis2=-1)
    a, b = (right[:, part.start] for part in one.pair)
    a_only, b_only = (int(paired.counts @ ((x == 1) & (y == 0))) for x, y in ((a, b), (b, a)))
    return mcnemar_p(a_only, b_only)


def _notes(
    aligned: Aligned, one: Contrast, metric: str, found: Difference, differing: int
) -> list[Note]:
    """Say why there is no interval, what to distrust, and whether any test could decide."""
    notes, most = [], _most(metric, aligned.paired.classes)
    if np.isnan(found.low):
        none = _unknown(aligned, one.pair, metric)
        notes += none or [_why_none(aligned, one, metric, found, differing)]
    elif np.isclose((found.low, found.high), (-most, most)).any():
        notes.append(AT_RANGE)
    notes += _of_scores(aligned, one.pair, metric, flag)
    if differing and found.smallest_p >= ALPHA:
        few = f"Too few {aligned.unit}s differ for p to fall below {found.smallest_p:.3f}"
        notes.append(Note(f"{few}: no test can decide."))
    folds = aligned.samples[0].split == OUT_OF_FOLD
    if one.single:
        return [*notes, ONE_REPEAT if folds else NOT_THE_METHODS]
    alone = [aligned.names[place.start] for place in one.pair if place.stop - place.start == 1]
    return [*notes, *(replace(ONE_REPEAT if folds else ONE_SEED, runs=(name,)) for name in alone)]


def _why_none(
    aligned: Aligned, one: Contrast, metric: str, found: Difference, differing: int
) -> Note:
    """Say why a difference has no interval."""
    unit, text = aligned.unit, UNVARYING
    if aligned.paired.n_units < 2:
        text = ONE_UNIT
    elif np.isnan(one.error):
        return replace(undefined(metric, aligned.samples[one.pair[0].start]), metrics=())
    elif not np.isnan(found.p):
        text, scores = TOO_FEW, (found.estimate_a, found.estimate_b)
        of_groups = _bounded(one.of_groups.interval(LEVEL), metric, scores, aligned.paired.classes)
        # Groups alone would say something: it is the seeds that are few.
        again = again_word(aligned.samples[0].split)
        unit = again if one.seeds_vary and not np.isnan(of_groups[0]) else unit
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

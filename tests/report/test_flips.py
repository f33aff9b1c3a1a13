"""Sign flips against plain enumeration; p, interval and verdict agree; families and seeds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from frostline.report.statistics.comparisons.contributions import contributions
from frostline.report.statistics.comparisons.decisions import mcnemar_p
from frostline.report.statistics.comparisons.flips import SignFlips, kept_sums
from frostline.report.statistics.comparisons.multiplicity import Bonferroni, MaxT
from frostline.report.statistics.comparisons.paired import make_paired
from frostline.report.statistics.metrics import compute_metrics, confusion_matrix
from frostline.report.statistics.resampling.seeds_variance import (
    SeedsTest,
    group_variance,
    seeds_part,
    seeds_test,
)

UNITS = st.lists(st.tuples(st.integers(-4, 4), st.integers(1, 5)), min_size=2, max_size=9)
CLASSES = ("a", "b", "c")


def flips_of(sums, weights, draws=2_000, seed=0):
    """The test of sums and weights, a unit each."""
    sums, weights = np.array(sums, float), np.array(weights, float)
    difference = sums.sum() / weights.sum()
    residuals, counts = sums - difference * weights, np.ones(len(sums), dtype=np.int64)
    rng = np.random.default_rng(seed)
    kept = kept_sums(residuals[:, None], weights[:, None], counts, draws, rng)
    return SignFlips(difference, residuals, weights, counts, *(one[:, 0] for one in kept))


def p_by_hand(sums, weights, delta):
    """All arrangements visited one by one; ties half, but for the observed one."""
    residuals = np.array(sums) - delta * np.array(weights)
    seen, reached = abs(residuals.sum()), 1.0
    for signs in itertools.product([1, -1], repeat=len(residuals) - 1):
        size = abs((residuals * (1, *signs)).sum())
        if -1 in signs:
            reached += 0.5 if abs(size - seen) < 1e-9 else float(size > seen)
    return reached / 2 ** (len(residuals) - 1)


@given(UNITS)
def test_p_is_the_share_of_arrangements(units):
    sums, weights = zip(*units, strict=True)
    test = flips_of(sums, weights)
    places, _, _ = test._curves[1]
    below, _, _ = test._curves[-1]
    for delta in {*places[1:4], *(-below[1:4])}:
        assert test.p(delta) == pytest.approx(p_by_hand(sums, weights, delta))
    assert test.p(test.difference) == 1.0


@given(UNITS)
def test_p_falls_away_from_the_estimate_and_lies_between_its_steps(units):
    sums, weights = zip(*units, strict=True)
    test = flips_of(sums, weights)
    deltas = test.difference + np.linspace(0, 8, 60)
    for sign in (1, -1):
        found = [test.p(test.difference + sign * (d - test.difference)) for d in deltas]
        assert (np.diff(found) <= 1e-12).all()


@given(UNITS, st.sampled_from([0.9, 0.95]))
def test_the_interval_holds_exactly_what_is_not_rejected(units, level):
    sums, weights = zip(*units, strict=True)
    test = flips_of(sums, weights)
    low, high = test.interval(level)
    for delta in (0.0, *np.linspace(-6, 6, 25)):
        outside = delta < low - 1e-9 or delta > high + 1e-9
        inside = low + 1e-9 < delta < high - 1e-9
        assert not outside or test.p(delta) < 1 - level + 1e-9
        assert not inside or test.p(delta) >= 1 - level - 1e-9


@pytest.mark.parametrize("seed", [42, 150])
def test_an_end_at_0_is_0_where_p_is_exactly_5_percent(seed):
    sums = np.random.default_rng(seed).choice([-1, 0, 0, 1, 1], 60)
    test = flips_of(sums, np.ones(60), draws=99, seed=seed)
    assert test.p() == 0.05
    assert test.interval(0.95)[0] == 0.0


def test_single_images_are_mcnemars_mid_p():
    for a_only, b_only in ((7, 1), (9, 3), (4, 4), (6, 0)):
        sums = [1] * a_only + [-1] * b_only + [0] * 20
        exact = mcnemar_p(a_only, b_only)
        assert flips_of(sums, [1] * len(sums), 40_000).p() == pytest.approx(exact, abs=0.006)
    assert mcnemar_p(7, 1) == pytest.approx(2 * stats.binom.cdf(1, 8, 0.5) - 8 / 256)
    assert mcnemar_p(0, 0) == 1.0


def test_drawn_arrangements_approach_all_of_them(monkeypatch):
    rng = np.random.default_rng(1)
    sums, weights = rng.normal(0.6, 1, 13), rng.integers(1, 6, 13)
    exact = flips_of(sums, weights)
    monkeypatch.setattr("frostline.report.statistics.comparisons.flips.MOST_ENUMERATED", 3)
    drawn = flips_of(sums, weights, 40_000)
    assert drawn.p() == pytest.approx(exact.p(), abs=0.01)
    assert drawn.interval(0.95) == pytest.approx(exact.interval(0.95), abs=0.02)


def test_five_groups_exclude_nothing_and_six_do():
    assert flips_of([1, 2, 1, 3, 2], [1] * 5).interval(0.95) == (-np.inf, np.inf)
    low, high = flips_of([1, 2, 1, 3, 2, 1], [1] * 6).interval(0.95)
    assert 0 < low < high < 4


@pytest.mark.parametrize("metric", ["accuracy", "recall[b]", "specificity[a]", "f1_macro"])
def test_contributions_are_those_of_groups(metric):
    rng = np.random.default_rng(3)
    truth, one, other = rng.integers(0, 3, (3, 60))
    groups = rng.integers(0, 12, 60)
    made = contributions(make_paired(truth, [one, other], CLASSES, groups), metric)
    assert made.counts.sum() == 12
    np.testing.assert_allclose(made.counts @ made.residuals, 0, atol=1e-9)

    def score(answers, rows):
        table = confusion_matrix(truth[rows], answers[rows], 3)
        return float(compute_metrics(table, [metric], CLASSES)[metric])

    for run, answers in enumerate((one, other)):
        every = np.ones(60, dtype=bool)
        error = group_variance(made.residuals[:, run], made.weights[:, run], made.counts)[0]
        left = np.array([score(answers, groups != g) for g in range(12)])
        jackknife = 11 / 12 * ((left - left.mean()) ** 2).sum()
        assert error == pytest.approx(jackknife, rel=0.35)
        if metric == "f1_macro":
            np.testing.assert_allclose(
                np.sort(np.repeat(made.residuals[:, run], made.counts)),
                np.sort(-11 * (left - left.mean())),
                atol=1e-9,
            )
        else:
            hits = made.residuals[:, run] + score(answers, every) * made.weights[:, run]
            np.testing.assert_allclose(hits, np.round(hits), atol=1e-9)


def law_of(tests):
    """The law of the largest statistic of tests of the same units."""
    residuals = np.stack([one.residuals for one in tests], axis=1)
    weights = np.stack([one.weights for one in tests], axis=1)
    rng = np.random.default_rng(5)
    kept, _ = kept_sums(residuals, weights, tests[0].counts, 4_000, rng, drawn=True)
    return MaxT(np.abs(2 * kept / np.sqrt((residuals**2).sum(0))).max(1))


@given(st.integers(0, 10_000), st.integers(16, 40), st.sampled_from([1, 60, 200]))
def test_adjusted_p_and_simultaneous_interval_agree(seed, units, heaviest):
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 9, units)
    weights[0] = heaviest  # with 200 images in one group there are about two effective groups
    tests = [flips_of(rng.normal(shift, 1, units) * weights, weights) for shift in (0, 0.3, 0.6)]
    for family in (law_of(tests), Bonferroni(3)):
        for test in tests:
            low, high = family.interval(test, 0.95)
            assert (family.p(test) < 0.05) == (low > 0 or high < 0)
            assert family.p(test) >= test.p()
            own = test.interval(0.95)
            assert low <= own[0] < own[1] <= high
            lower, higher = family.interval(test, 0.9)
            assert low <= lower < higher <= high


@pytest.mark.parametrize("seed", range(5))
def test_an_end_at_0_is_0_where_the_observed_statistic_is_the_critical_one(seed):
    sums = np.random.default_rng(seed).choice([-1, 0, 0, 1, 1], 60)
    test = flips_of(sums, np.ones(60))
    assert 0.0 in test.interval_at(abs(test.statistic()))


def test_copies_of_one_pair_are_one_test():
    rng = np.random.default_rng(2)
    test = flips_of(rng.normal(0.4, 1, 40), np.ones(40), 4_000)
    copies = law_of([test] * 5)
    assert copies.p(test) == pytest.approx(test.p(), abs=0.02)
    assert Bonferroni(5).p(test) == pytest.approx(min(1, 5 * test.p()))
    apart = law_of([test, *(flips_of(rng.normal(0, 1, 40), np.ones(40)) for _ in range(9))])
    assert apart.p(test) > 3 * test.p()


def seeds_of(table):
    """Group variance and seeds' part of a table of values, [G, S]."""
    groups, counts = len(table), np.ones(len(table), dtype=np.int64)
    residuals = table - table.mean(0)
    group = group_variance(residuals.mean(1), np.ones(groups), counts)
    return group, seeds_part(table.mean(0), residuals / groups, counts)


def test_seeds_add_their_variance_once():
    """Groups, seeds and their interaction, against the mean squares of two-way analysis."""
    rng = np.random.default_rng(4)
    groups, seeds = 40, 4
    table = rng.normal(0, 1, (groups, 1)) + rng.normal(0, 0.5, seeds)
    table = table + rng.normal(0, 1, (groups, seeds))
    values = table.mean(0)
    (variance, df), part = seeds_of(table)
    ms_seeds = groups * values.var(ddof=1)
    residuals = table - table.mean(1, keepdims=True) - values + table.mean()
    ms_both = (residuals**2).sum() / (groups - 1) / (seeds - 1)
    ms_groups = seeds * table.mean(1).var(ddof=1)
    assert part.whole == pytest.approx(ms_seeds / groups / seeds)
    assert part.interaction == pytest.approx(ms_both / groups / seeds)
    assert (variance, df) == pytest.approx((ms_groups / groups / seeds, groups - 1))
    test = seeds_test(0.3, (variance, df), part)
    assert test.error**2 == pytest.approx((ms_groups + ms_seeds - ms_both) / groups / seeds)
    low, high = test.interval(0.95)
    assert (test.p() < 0.05) == (low > 0 or high < 0)
    assert test.interval_at(stats.norm.ppf(0.975)) == pytest.approx((low, high))
    assert seeds_of(table[:, :1])[1] is None


@given(
    group=st.floats(1e-6, 10),
    seeds=st.floats(1e-6, 10),
    group_df=st.floats(1, 500),
    seeds_df=st.integers(1, 9),
    distance=st.floats(0.01, 30),
)
def test_student_s_t_of_two_variances(group, seeds, group_df, seeds_df, distance):
    test = SeedsTest(distance, group, group_df, seeds, seeds_df)
    # Banerjee: the root of the sum of squares of both parts' distances.
    parts = np.sqrt([group, seeds]) * stats.t.ppf(0.975, [group_df, seeds_df])
    quantile = np.hypot(*parts) / (group + seeds) ** 0.5
    low, high = test.interval(0.95)
    assert (high - low) / 2 == pytest.approx(quantile * (group + seeds) ** 0.5)
    assert stats.t.ppf(0.975, test.df) == pytest.approx(quantile)
    assert min(group_df, seeds_df) * 0.999 <= test.df <= max(group_df, seeds_df) * 1.001
    assert test.p(low) == pytest.approx(0.05)
    assert test.interval_at(test.statistic())[0] == pytest.approx(0, abs=1e-9 * distance)
    mean = np.average(stats.t.ppf(0.975, [group_df, seeds_df]), weights=[group, seeds])
    assert stats.t.ppf(0.975, test.mean_df) == pytest.approx(mean)
    assert test.mean_df >= test.df * 0.999
    alone = SeedsTest(distance, group, group_df)
    assert alone.p() == pytest.approx(2 * stats.t.sf(distance / group**0.5, group_df), abs=1e-12)
    assert alone.df == group_df


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("share", [0.3, 0.75, 0.95])
def test_no_level_is_rejected_more_often_than_it_says(seeds, share):
    """Of a difference of 0 whose variance is groups' and, by this share, seeds', as estimated."""
    rng, times = np.random.default_rng(seeds), 4_000
    groups = (1 - share) * rng.chisquare(100, times) / 100
    of_seeds = share * rng.chisquare(seeds - 1, times) / (seeds - 1)
    distance = rng.standard_normal(times)
    p = np.array(
        [
            SeedsTest(d, g, 100.0, s, seeds - 1).p()
            for d, g, s in zip(distance, groups, of_seeds, strict=True)
        ]
    )
    for level in (0.05, 0.0167, 0.0033):
        scatter = 3 * (level * (1 - level) / times) ** 0.5
        assert (p < level).mean() < 1.05 * level + scatter


@pytest.mark.parametrize(("seeds", "most"), [(2, 0.985), (3, 0.975), (5, 0.97)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_of_a_mean_covers(seeds, most, share):
    """A mean whose variance is groups' and, by this share, seeds', as estimated."""
    rng, times = np.random.default_rng(seeds), 4_000
    groups = (1 - share) * rng.chisquare(100, times) / 100
    of_seeds = share * rng.chisquare(seeds - 1, times) / (seeds - 1)
    tests = [SeedsTest(0.0, g, 100.0, s, seeds - 1) for g, s in zip(groups, of_seeds, strict=True)]
    reach = [test.error * stats.t.ppf(0.975, test.mean_df) for test in tests]
    covers = (2 * stats.norm.cdf(reach) - 1).mean()
    assert 0.94 < covers < most


def test_seeds_without_a_spread_of_their_own_add_nothing_on_average():
    """With s² / S and the jackknife simply added, the variance would be twice as large here."""
    rng = np.random.default_rng(6)
    ratios = []
    for _ in range(300):
        group, part = seeds_of(rng.normal(0, 1, (30, 3)))  # only the interaction varies
        ratios.append(seeds_test(0.0, group, part).error ** 2 / (1 / 90))
    assert 0.95 < np.mean(ratios) < 1.5


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_variance_is_never_below_that_of_seeds(seeds):
    """Methods that are alike in all but noise had fewer than one degree of freedom."""
    rng = np.random.default_rng(7)
    for _ in range(200):
        group, part = seeds_of(rng.normal(0, rng.choice([0.01, 1]), (40, seeds)))
        test = seeds_test(0.0, group, part)
        assert test.error**2 >= max(group[0], part.whole) * (1 - 1e-12)
        assert seeds - 1 <= test.df <= 39


def test_effective_groups_are_fewer_where_their_sizes_differ():
    counts = np.ones(10, dtype=np.int64)
    assert group_variance(np.ones(10), np.ones(10), counts)[1] == 9
    sizes = np.array([91.0] + [1.0] * 9)
    assert group_variance(np.ones(10), sizes, counts)[1] == pytest.approx(100**2 / 8290 - 1)

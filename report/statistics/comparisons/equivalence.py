"""Whether a difference is smaller than a margin: two one-sided tests, and their interval."""

from __future__ import annotations

import numpy as np

from frostline.report.statistics.comparisons.contributions import Contrast
from frostline.report.statistics.comparisons.decisions import ALPHA, LEVEL
from frostline.report.statistics.comparisons.multiplicity import Family, Test
from frostline.report.statistics.intervals.exact import ExactTest
from frostline.report.statistics.resampling.seeds_variance import null_variance, seeds_test

# An end of the interval that lies beyond so many doublings of the margin is infinite.
MOST_DOUBLINGS = 20
# With fewer units that differ, their variance says too little of whether two runs are equivalent.
FEWEST_DIFFERING = 10
Tested = tuple[Contrast, Test]


def equivalence(
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
    test = seeds_test(one.difference, group, one.seeds)
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


def few_differ_p(differing: int, units: int, margin: float) -> float:
    """Test what equivalence needs too where so few units differ that their variance
    says too little.

    Accuracies differ by no more than the share of units that differ: p is the chance of so few, if
    that share were the margin (Clopper and Pearson 1934); 0 from 10 units on.
    """
    from scipy.stats import binom

    if differing >= FEWEST_DIFFERING:
        return 0.0
    return float(binom.cdf(differing, units, min(margin, 1.0)))


def few_differ_bound(differing: int, units: int) -> float:
    """Give the margin at which `few_differ_p` is 5%: the bound of the share that differs."""
    from scipy.stats import beta

    if differing >= FEWEST_DIFFERING:
        return 0.0
    return float(beta.ppf(LEVEL, differing + 1, units - differing)) if differing < units else 1.0

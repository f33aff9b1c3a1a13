"""Verdicts, and the p-values of tests that swap nothing."""

from __future__ import annotations

from frostline.report.statistics.metrics import find_metric

ALPHA = 0.05
IDENTICAL = "identical predictions"
# From so many on the jackknife's error shows whether two runs are equivalent.
FEWEST_DIFFERING = 10


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

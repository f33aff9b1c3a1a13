"""Verdicts, and what they need beside the test of the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frostline.report.statistics.metrics import find_metric

ALPHA = 0.05
LEVEL = 1 - ALPHA
IDENTICAL = "identical predictions"


def verdict(difference: float, p: float, equivalence: float | None, metric: str) -> str:
    """Say better or worse if the test shows it, else equivalent within the margin, or undecided."""
    if p < ALPHA:
        return "better" if (difference > 0) == find_metric(metric).higher else "worse"
    return "equivalent" if equivalence is not None and equivalence < ALPHA else "undecided"


def within_margin(found: Mapping[Any, Any]) -> bool:
    """Say whether a difference that was found is proven to be smaller than the margin, too.

    The two one-sided tests must say so, and the interval that is shown must lie within the margin.
    `found` is a row of `compare`.
    """
    if found["verdict"] not in ("better", "worse") or found["equivalence_p"] is None:
        return False
    inside = -found["margin"] < found["low"] and found["high"] < found["margin"]
    return bool(inside and found["equivalence_p"] < ALPHA)


def mcnemar_p(a_only: int, b_only: int) -> float:
    """Compute the mid-p of McNemar's test (McNemar 1947; Fagerland, Lydersen and Laake 2013).

    Whether those that one run alone got right are evenly split.
    """
    from scipy.stats import binom

    total, fewer = a_only + b_only, min(a_only, b_only)
    if a_only == b_only:
        return 1.0
    return float(2 * binom.cdf(fewer, total, 0.5) - binom.pmf(fewer, total, 0.5))

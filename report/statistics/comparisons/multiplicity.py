"""Several tests of one family: adjusted p and simultaneous intervals, from one law.

Single-step max-T (Westfall and Young 1993): a pair's statistic is held against the largest of the
family's, whose law keeps how the differences hang together, so that alike runs cost less than with
Bonferroni. Stepping down would make p smaller, but no intervals agree with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from frostline.report.statistics.metrics import Array

# Statistics that are nearer to each other than this are the same, but for rounding.
TIE = 1e-9


class Test(Protocol):
    """A test of one difference that can be inverted: `SignFlips` or `SeedsTest`."""

    @property
    def difference(self) -> float:
        """The difference as observed."""

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`."""

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`."""

    def statistic(self, delta: float = 0.0) -> float:
        """Give a statistic of `delta` that is about standard normal."""

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size."""


class Family(Protocol):
    """How the tests of a family are adjusted: `MaxT`, or `Bonferroni` where none is shared."""

    @property
    def name(self) -> str:
        """How p is adjusted, for tables."""

    def p(self, test: Test, delta: float = 0.0) -> float:
        """Give the adjusted p: at least the pair's own."""

    def interval(self, test: Test, level: float) -> tuple[float, float]:
        """Give every δ whose adjusted p is at least 1 - `level`."""


@dataclass(frozen=True)
class Bonferroni:
    """Pairs on images of their own, or of methods whose seeds vary: valid whatever depends on what.

    Each method's few seeds are in the variance of all of its pairs, so that the law of their
    largest statistic is not that of normal draws.

    Attributes
    ----------
    size : int
        Number of pairs; 1 leaves p and interval as they are.
    """

    size: int

    @property
    def name(self) -> str:
        """Say how p is adjusted, for tables."""
        return "Bonferroni" if self.size > 1 else "none"

    def p(self, test: Test, delta: float = 0.0) -> float:
        """Give p times the number of pairs, at most 1."""
        return min(1.0, self.size * test.p(delta))

    def interval(self, test: Test, level: float) -> tuple[float, float]:
        """Give every δ whose adjusted p is at least 1 - `level`."""
        return test.interval(1 - (1 - level) / self.size)


@dataclass(frozen=True)
class MaxT:
    """The law of the largest statistic of a family.

    Attributes
    ----------
    largest : float64 [B]
        Of every arrangement the largest statistic in size over all pairs.
    """

    largest: Array
    name: str = "max-T"

    def p(self, test: Test, delta: float = 0.0) -> float:
        """Give the adjusted p: at least the pair's own."""
        reached = 1 + int((self.largest >= abs(test.statistic(delta)) - TIE).sum())
        return max(test.p(delta), reached / (len(self.largest) + 1))

    def interval(self, test: Test, level: float) -> tuple[float, float]:
        """Give every δ whose adjusted p is at least 1 - `level`: at least the pair's own."""
        low, high = test.interval(level)
        wanted = int(np.ceil((1 - level) * (len(self.largest) + 1) - 1e-9)) - 1
        if wanted < 1:
            return -np.inf, np.inf
        lowest, highest = test.interval_at(float(np.sort(self.largest)[-wanted]))
        return min(low, lowest), max(high, highest)

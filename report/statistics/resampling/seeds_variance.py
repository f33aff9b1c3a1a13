"""The variance of a mean over seeds, or a difference: groups, seeds, and their interaction once.

Seeds are what readers are in a reading study (Obuchowski and Rockette 1995): every seed scores the
same groups. A method's mean over seeds varies with the groups, with the seeds, and with the
interaction of both, which s² / S of the seeds and the variance between groups both have in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array
from frostline.report.statistics.resampling.weights import effective_number

# Where one unit seems to make all of the variance, that is an accident of the sample too. By
# simulation 4 covers as 1 does, and hardly a sample of the atlas is left without an interval.
LEAST_DF = 4.0


@dataclass(frozen=True)
class SeedsTest:
    """Student's t of a difference of means over seeds.

    Attributes
    ----------
    difference, error, df : float
        The difference, its standard error, and its degrees of freedom.
    """

    difference: float
    error: float
    df: float

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`."""
        from scipy.special import stdtr

        if not self.error > 0:
            return 1.0
        return float(2 * stdtr(self.df, -abs(self.difference - delta) / self.error))

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`."""
        from scipy.special import stdtrit

        reach = float(stdtrit(self.df, (1 + level) / 2)) * self.error
        return self.difference - reach, self.difference + reach

    def statistic(self, delta: float = 0.0) -> float:
        """Give the standard normal quantile that has the p of `delta`, with its sign."""
        from scipy.special import ndtri, stdtr

        if not self.error > 0:
            return 0.0
        t = (self.difference - delta) / self.error
        return float(np.sign(t) * -ndtri(stdtr(self.df, -abs(t))))

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size."""
        from scipy.special import ndtr

        return self.interval(1 - 2 * float(ndtr(-largest)))


@dataclass(frozen=True)
class SeedsPart:
    """What the seeds of one method add to the variance of its mean.

    Attributes
    ----------
    variance : float
        s² / S less the interaction of groups and seeds, which the variance between groups has
        already; at least 0.
    whole : float
        s² / S, whose degrees of freedom are S - 1.
    seeds : int
    """

    variance: float
    whole: float
    seeds: int


def seeds_part(
    values: Array, residuals: Array, weights: Array, counts: npt.NDArray[np.int64]
) -> SeedsPart | None:
    """Compute what the seeds of a method add to its variance; None of one seed.

    In the terms of Dorfman, Berbaum and Metz (1992), whose pseudo-values these are: (MS(seeds) -
    MS(groups x seeds)) / (G S), and MS(seeds) / (G S).

    Parameters
    ----------
    values : float64 [S]
        The metric of each seed.
    residuals, weights : float64 [U, S]
        Of each kind of unit, as in `Contributions`.
    counts : int64 [U]
    """
    seeds = len(values)
    if seeds < 2:
        return None
    whole = float(values.var(ddof=1)) / seeds
    total = counts @ weights
    # Of a class that no unit is of, nothing is known.
    residuals = residuals / np.where(total > 0, total, np.nan)
    apart = residuals - residuals.mean(1, keepdims=True)
    units = int(counts.sum())
    interaction = float(counts @ (apart**2).sum(1)) * units / max(units - 1, 1)
    return SeedsPart(max(whole - interaction / (seeds - 1) / seeds, 0.0), whole, seeds)


def group_variance(
    residuals: Array, weights: Array, counts: npt.NDArray[np.int64], *, factor: float = np.inf
) -> tuple[float, float]:
    """Compute the variance over units of a metric or difference, and its degrees of freedom.

    Σ residuals² / (Σ weights)², as a jackknife has it (Tukey 1958), and (Σw)² / Σw² - 1: the
    effective number of units, less one.

    Parameters
    ----------
    residuals, weights : float64 [U]
        As in `Contributions`.
    factor : float
        Where units are unequal few may make the variance, and it is known as badly as they are few.
        The degrees of freedom are then at most this many times (Σr²)² / Σr⁴, of the residuals
        themselves, less one, but not below `LEAST_DF`: see `df_factor`.
    """
    total, effective = float(counts @ weights), float(effective_number(weights, counts))
    if effective <= 1:
        return float("nan"), 0.0
    squares = (residuals / total) ** 2
    df = effective - 1
    if np.isfinite(factor):
        df = min(df, max(factor * float(effective_number(squares, counts)) - 1, LEAST_DF))
    return float(counts @ squares) * effective / (effective - 1), df


def null_variance(
    residuals: Array, weights: Array, counts: npt.NDArray[np.int64]
) -> tuple[float, float]:
    """Compute the variance over units that a difference has under a hypothesis, and its df.

    As `group_variance`, with residuals under that hypothesis (Cameron, Gelbach and Miller 2008).
    Effective units are those that make the variance, (Σr²)² / Σr⁴ (Carter, Schnepel and
    Steigerwald 2017), if they are fewer: near an accuracy of 1 few units are wrong, and a sample
    that happens to have fewer of them shows a difference and a variance that are both too small.
    """
    squares = (residuals / float(counts @ weights)) ** 2
    effective = min(float(effective_number(one, counts)) for one in (weights, squares))
    df = max(effective - 1, 1.0)
    return float(counts @ squares) * (df + 1) / df, df


def seeds_test(
    difference: float, group: tuple[float, float], parts: Sequence[SeedsPart]
) -> SeedsTest:
    """Add the variances of groups and seeds, with the degrees of freedom of their sum.

    Satterthwaite (1946), with the whole of s² / S in the denominator, as in Hillis (2007), whose
    formula leaves the groups out because they are many in a reading study: here they may be few.
    """
    variance, df = group
    total = variance + sum(part.variance for part in parts)
    below = variance**2 / df if df > 0 else float("nan")
    below += sum(part.whole**2 / (part.seeds - 1) for part in parts)
    return SeedsTest(difference, total**0.5, total**2 / below if below > 0 else df)

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
# What is nothing but rounding, as a share of what it is of.
NEGLIGIBLE = 1e-12
NORMAL_95 = 1.959963984540054
# Its p is 5e-89; quantiles of t much further out are not exact.
LARGEST_Z = 20.0


@dataclass(frozen=True)
class SeedsTest:
    """Student's t of a mean over seeds, or of a difference of two such means.

    Its variance has two parts, of which one may rest on few groups and the other on few seeds. The
    distance that has a p is the root of the sum of squares of both parts' own distances (Banerjee
    1960, of the problem of Behrens and Fisher): by simulation it is rejected at most 1.03 times as
    often as p says, at 5% and at the stricter levels of families. By Satterthwaite's (1946) degrees
    of freedom, as Hillis (2007) has them, two equal methods of two or three seeds, which make most
    of the variance, differ in 13 or 8% of trials: where the seeds happen to be alike, the variance
    is taken for that of the groups, which are many.

    Attributes
    ----------
    difference : float
    group, group_df : float
        The variance between groups, without their interaction with seeds; its degrees of freedom.
    seeds, seeds_df : float
        The variance of seeds, with that interaction, and its degrees of freedom.
    """

    difference: float
    group: float
    group_df: float
    seeds: float = 0.0
    seeds_df: float = 1.0

    @property
    def error(self) -> float:
        """Standard error."""
        return float((self.group + self.seeds) ** 0.5)

    @property
    def df(self) -> float:
        """Degrees of freedom of the t that has the 95% quantile of this one."""
        return self._df_of(self.reach(NORMAL_95) / self.error if self.error > 0 else NORMAL_95)

    @property
    def mean_df(self) -> float:
        """Degrees of freedom of the t that has Cochran and Cox's (1950) quantile at 95%.

        The mean of both parts' quantiles, weighted by their variances: an interval of a mean, which
        is asked at 95% alone, then covers in 95 to 97% of normal samples of three seeds, where
        the distance that has a p at every level covers in 95 to 98%.
        """
        from scipy.special import stdtrit

        parts = ((self.group, self.group_df), (self.seeds, self.seeds_df))
        quantiles = sum(part * stdtrit(df, 0.975) for part, df in parts if part > 0)
        return self._df_of(quantiles / self.error**2 if self.error > 0 else NORMAL_95)

    def _df_of(self, quantile: float) -> float:
        """Give the degrees of freedom of the t whose 95% quantile is `quantile`."""
        from scipy.optimize import brentq
        from scipy.special import stdtrit

        if not (self.seeds > 0 and self.error > 0):
            return self.group_df
        fewest, most = sorted((self.group_df, self.seeds_df))
        # One part may be nothing but rounding.
        if stdtrit(most, 0.975) >= quantile:
            return most
        if stdtrit(fewest, 0.975) <= quantile:
            return fewest
        return float(brentq(lambda df: stdtrit(df, 0.975) - quantile, fewest, most))

    def reach(self, z: float) -> float:
        """Give the distance from the difference that has the p of a standard normal `z`."""
        from scipy.special import ndtr, stdtrit

        tail = ndtr(-z)
        parts = ((self.group, self.group_df), (self.seeds, self.seeds_df))
        return float(sum(part * stdtrit(df, tail) ** 2 for part, df in parts if part > 0) ** 0.5)

    def statistic(self, delta: float = 0.0) -> float:
        """Give the standard normal quantile that has the p of `delta`, with its sign."""
        from scipy.optimize import brentq

        distance = self.difference - delta
        if not self.error > 0 or distance == 0:
            return 0.0
        # No quantile of t is smaller than the normal one.
        most = min(abs(distance) / self.error, LARGEST_Z)
        if self.reach(most) <= abs(distance):
            return float(np.copysign(most, distance))
        z = brentq(lambda z: self.reach(z) - abs(distance), 0.0, most, xtol=1e-13)
        return float(np.copysign(z, distance))

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`."""
        from scipy.special import ndtr

        return float(2 * ndtr(-abs(self.statistic(delta))))

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size."""
        reach = self.reach(largest)
        return self.difference - reach, self.difference + reach

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`."""
        from scipy.special import ndtri

        return self.interval_at(float(ndtri((1 + level) / 2)))


@dataclass(frozen=True)
class SeedsPart:
    """What seeds add to the variance of a mean over them, or of a difference of two such means.

    Attributes
    ----------
    whole : float
        s² / S: the variance of seeds, and their interaction with the groups.
    interaction : float
        The interaction alone, as the groups show it.
    df : float
        Degrees of freedom of `whole`: S - 1.
    """

    whole: float
    interaction: float
    df: float

    def shared(self, group: float) -> float:
        """Give the interaction that `whole` and the variance between groups, `group`, both have.

        Each is estimated, but neither can have more of it than it is.
        """
        return min(self.interaction, self.whole, group)

    def error(self, group: float) -> float:
        """Give the standard error that seeds add to the variance between groups."""
        return float((self.whole - self.shared(group)) ** 0.5)


def seeds_part(
    values: Array, shares: Array, counts: npt.NDArray[np.int64], step: float = 0.0
) -> SeedsPart | None:
    """Compute what seeds add to the variance of a mean over them; None of seeds that do not vary.

    Seeds that all answer alike are as one, whose predictions they have.

    In the terms of Dorfman, Berbaum and Metz (1992), whose pseudo-values these are: MS(seeds) /
    (G S), and MS(groups x seeds) / (G S).

    Parameters
    ----------
    values : float64 [S]
        The metric of each seed, or the difference that two methods have with it.
    shares : float64 [U, S]
        Of each kind of unit, as in `Contributions`; or their difference.
    counts : int64 [U]
        How many units are of each kind.
    step : float
        How far the smallest unit moves the metric. Two seeds may well have one score on a few
        hundred images, and are known to be so near to each other only up to that: the variance of
        rounding to it, of both methods, is added. (Else of six equally good methods of two seeds
        some pair would differ in 8 to 9% of trials.)
    """
    seeds, units = len(values), int(counts.sum())
    if seeds < 2:
        return None
    if (np.abs(shares - shares[:, :1]) <= NEGLIGIBLE * np.abs(shares).max(initial=0.0)).all():
        return None
    apart = shares - shares.mean(1, keepdims=True)
    both = float(counts @ (apart**2).sum(1)) * units / max(units - 1, 1) / (seeds - 1)
    whole = float(values.var(ddof=1)) + step**2 / 6
    return SeedsPart(whole / seeds, both / seeds, seeds - 1)


def add_parts(parts: Sequence[SeedsPart]) -> SeedsPart | None:
    """Add the parts of methods whose seeds are not the same (Satterthwaite 1946); None of none."""
    if not parts:
        return None
    whole = sum(part.whole for part in parts)
    below = sum(part.whole**2 / part.df for part in parts)
    df = whole**2 / below if below > 0 else sum(part.df for part in parts)
    return SeedsPart(whole, sum(part.interaction for part in parts), df)


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


def seeds_test(difference: float, group: tuple[float, float], seeds: SeedsPart | None) -> SeedsTest:
    """Test a difference by the variances of groups and seeds, their interaction counted once.

    Obuchowski and Rockette (1995): the whole of s² / S, and of the groups what is no interaction.

    Parameters
    ----------
    difference : float
    group : (float, float)
        The variance between groups, with the interaction, and its degrees of freedom.
    seeds : SeedsPart or None
        None of one seed.
    """
    variance, df = group
    if seeds is None:
        return SeedsTest(difference, variance, df)
    rest = variance - seeds.shared(variance)
    return SeedsTest(difference, rest, df, seeds.whole, seeds.df)

"""Sign flips of what units contribute to a difference: its p and, inverted, its interval.

If the true difference is δ, the residual `sum - δ weight` of a unit is as likely positive as
negative (Fisher 1935; of residuals under the null hypothesis: Cameron, Gelbach and Miller 2008).
An arrangement of signs is at least as extreme as the observed one exactly for the δ between the
mean of the units that keep their sign and the mean of the others (Hartigan 1969), so that p is a
count of such ranges, and the interval is read off their sorted ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array
from frostline.report.statistics.resampling.seeds_variance import NEGLIGIBLE
from frostline.report.statistics.resampling.units import block_sizes

# Up to this many units all arrangements are visited instead of drawn.
MOST_ENUMERATED = 14
DRAWS_AT_ONCE = 1_000
# Two sums of the same numbers may round apart: ends of ranges are rounded to so many digits.
DIGITS = 12
DIGITS_OF_P = 9


@dataclass(frozen=True)
class SignFlips:
    """The test of a difference of two runs, inverted.

    Attributes
    ----------
    difference : float
        As observed.
    residuals, weights : float64 [U]
        What each kind of unit contributes, as in `Contributions`; of a difference.
    counts : int64 [U]
        How many units are of each kind.
    kept, kept_weight : float64 [B]
        Sums of residuals and weights over the units that keep their sign, of every arrangement but
        the observed one.
    """

    difference: float
    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    kept: Array
    kept_weight: Array

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`.

        Arrangements that tie count half (mid-p: Fagerland, Lydersen and Laake 2013), but for the
        observed one (Davison and Hinkley 1997, section 4.2).
        """
        delta, centre = round(delta, DIGITS), round(self.difference, DIGITS)
        if delta == centre:
            return 1.0
        side = 1 if delta > centre else -1
        places, reached, always = self._curves[side]
        p = float(np.interp(side * delta, places, reached, right=always)) / self._every
        return round(p, DIGITS_OF_P)

    @property
    def smallest_p(self) -> float:
        """The p there would be if all units in which the two differ did so in one direction."""
        sums = self.residuals + self.difference * self.weights
        differing = np.abs(sums) > NEGLIGIBLE * np.abs(sums).max()
        units = int(self.counts.sum())
        possible = min(0.5 ** int(self.counts[differing].sum()) + 0.5**units, 1.0)
        if units > MOST_ENUMERATED:
            possible = max(possible, 1 / self._every)
        # Where arrangements are drawn, p scatters about what it would be of all.
        return min(possible, self.p())

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`; an end is infinite if no p is less."""
        wanted = (1 - level) * self._every
        ends = []
        for side in (-1, 1):
            places, reached, always = self._curves[side]
            end = float(np.interp(wanted, reached[::-1], places[::-1]))
            ends.append(side * (round(end, DIGITS) if always < wanted else np.inf))
        # A line between places rounds: where p is 5% at 0, an end is 0.
        if self.p() == round(1 - level, DIGITS_OF_P):
            ends[0 if self.difference > 0 else 1] = 0.0
        return ends[0], ends[1]

    def statistic(self, delta: float = 0.0) -> float:
        """Give Σ residuals over the root of Σ residuals² at `delta`: about standard normal.

        Far from the estimate it is about Σw / √Σw², the root of the effective number of units. It
        counts as no larger anywhere, so that a `delta` is rejected only if all further ones are,
        and p agrees with `interval_at`. Of equal weights it is never larger.
        """
        residuals = self.residuals + (self.difference - delta) * self.weights
        spread = float(self.counts @ residuals**2)
        if not spread > 0:
            return 0.0
        most = float(self.counts @ self.weights) / float(self.counts @ self.weights**2) ** 0.5
        return float(np.clip(float(self.counts @ residuals) / spread**0.5, -most, most))

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size.

        With x = difference - δ, residuals r and weights w: (x Σw)² = largest² Σ(r + x w)².
        """
        total = float(self.counts @ self.weights)
        a = total**2 - largest**2 * float(self.counts @ self.weights**2)
        if a <= 0:  # fewer effective units than the square of `largest`
            return -np.inf, np.inf
        b = largest**2 * float(self.counts @ (self.residuals * self.weights))
        c = largest**2 * float(self.counts @ self.residuals**2)
        root = (b * b + a * c) ** 0.5
        ends = self.difference - (b + root) / a, self.difference - (b - root) / a
        return round(ends[0], DIGITS), round(ends[1], DIGITS)

    @property
    def _every(self) -> int:
        """Number of arrangements, the observed one too."""
        return len(self.kept) + 1

    @cached_property
    def _curves(self) -> dict[int, tuple[Array, Array, float]]:
        """Give places outwards from the estimate and how many arrangements reach them, by side.

        At a place where ranges end those count half, and in between is a straight line, so that
        an interval's end is never one that p rejects. Last is how many have no end. Below the
        estimate (side -1) places are mirrored.
        """
        with np.errstate(all="ignore"):
            total = float(self.counts @ self.weights)
            one, other = self.kept / self.kept_weight, -self.kept / (total - self.kept_weight)
        # Where no unit with a weight is on a side, the arrangement is the observed one.
        endless = np.isnan(one) | np.isnan(other)
        found = {}
        for side in (-1, 1):
            ends = side * self.difference + np.maximum(side * one, side * other)
            ends = np.where(endless, np.inf, ends)
            finite = np.isfinite(ends)
            always = float(self._every - finite.sum())
            places, times = np.unique(np.round(ends[finite], DIGITS), return_counts=True)
            reached = always + np.cumsum(times[::-1])[::-1] - times / 2
            centre = round(side * self.difference, DIGITS)
            outside = places > centre
            found[side] = (
                np.r_[centre, places[outside]],
                np.r_[float(self._every), reached[outside]],
                always,
            )
        return found


def kept_sums(
    residuals: Array,
    weights: Array,
    counts: npt.NDArray[np.int64],
    replicates: int,
    rng: np.random.Generator,
    *,
    drawn: bool = False,
) -> tuple[Array, Array]:
    """Sum residuals and weights [U, P] over the units that keep their sign: [B, P] each.

    With up to `MOST_ENUMERATED` units, unless `drawn`, every arrangement but the observed one, one
    of each pair of mirror images; else `replicates` are drawn.
    """
    if not drawn and counts.sum() <= MOST_ENUMERATED:
        units = np.repeat(np.arange(len(counts)), counts)
        bits = (np.arange(1, 2 ** (len(units) - 1))[:, None] >> np.arange(len(units))) & 1
        kinds = bits @ (units[:, None] == np.arange(len(counts)))
        return kinds @ residuals, kinds @ weights
    parts = []
    for size in block_sizes(replicates, DRAWS_AT_ONCE):
        if len(counts) == counts.sum():
            kinds = rng.integers(0, 2, size=(size, len(counts)), dtype=np.int8)
        else:
            kinds = rng.binomial(counts, 0.5, size=(size, len(counts)))
        kinds = kinds.astype(np.float64)
        parts.append((kinds @ residuals, kinds @ weights))
    kept, kept_weight = zip(*parts, strict=True)
    return np.concatenate(kept), np.concatenate(kept_weight)

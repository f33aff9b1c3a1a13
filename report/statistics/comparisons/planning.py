"""How many groups would decide a difference: planned from the errors of those at hand.

The usual formula of a paired comparison, |difference| >= (t of the level + t of the power) x
standard error (Julious 2004), solved for the number of groups. The variance of groups
shrinks with their number, that of seeds does not. A plan for the observed difference takes it for
the true one, which is hopeful where it was picked because it was large (Hoenig and Heisey 2001): a
difference that matters, declared beforehand, is the better plan.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from frostline.report.statistics.comparisons.decisions import ALPHA, LEVEL
from frostline.report.statistics.comparisons.multiplicity import Family, MaxT, Test

POWER = 0.8
POWERS = (0.8, 0.9)
# Differences that are planned for where none is declared: points, of shares.
DECLARED = (0.01, 0.02, 0.05, 0.1)
MOST_UNITS = 10**9
PLAN_COLUMNS = (
    *("dataset", "a", "b", "metric", "observed", "difference", "power", "groups_needed"),
    *("n_units", "unit", "pair_alpha", "label_a", "label_b", "verdict"),
)


@dataclass(frozen=True)
class Errors:
    """What the standard error of a difference is made of.

    Attributes
    ----------
    units : int
        Units at hand.
    effective : float
        Their effective number, (Σw)² / Σw².
    group : float
        The variance of the difference between these units.
    seeds : float
        What seeds add, however many units there are.
    below : float
        Σ (s² / S)² / (S - 1) over methods: the seeds' part in the denominator of Satterthwaite's
        degrees of freedom.
    methods : tuple of int
        Seeds of the methods that have several.
    alpha : float
        The level at which this pair is tested, so that its family keeps to 5%.
    """

    units: int
    effective: float
    group: float
    seeds: float = 0.0
    below: float = 0.0
    methods: tuple[int, ...] = ()
    alpha: float = ALPHA

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Errors:
        """Take them from a row of `compare`."""
        group, seeds = float(row["group_error"]) ** 2, float(row["seed_error"]) ** 2
        seeds = 0.0 if math.isnan(seeds) else seeds
        units, effective = int(row["n_units"]), float(row["effective_units"])
        methods = tuple(int(n) for n in (row["seeds_a"], row["seeds_b"]) if n > 1)
        below, df = 0.0, float(row["df"])
        if df > 0:
            below = max((group + seeds) ** 2 / df - group**2 / (effective - 1), 0.0)
        return cls(units, effective, group, seeds, below, methods, float(row["pair_alpha"]))

    def needed(self, difference: float, power: float = POWER) -> float:
        """Give the least number of units that finds a true difference with this power.

        Infinite where no number does: of a difference of 0, or where seeds alone vary too much;
        NaN where the errors are unknown. Signs are flipped of as many units as can reject at all.
        """
        if math.isnan(difference) or not (self.group >= 0 and self.effective > 1):
            return math.nan
        enough = 2 if self.methods else 1 + math.floor(1 - math.log2(self.alpha))
        most = enough
        while not self._finds(difference, power, most):
            enough, most = most, 2 * most
            if difference == 0 or most > MOST_UNITS:
                return math.inf
        while most - enough > 1:
            middle = (enough + most) // 2
            found = self._finds(difference, power, middle)
            enough, most = (enough, middle) if found else (middle, most)
        return float(most)

    def _finds(self, difference: float, power: float, units: int) -> bool:
        from scipy.special import stdtrit

        group = self.group * self.units / units
        df = self.effective * units / self.units - 1
        if df <= 0:
            return False
        seeds, below = self._seeds_at(units)
        tested, true = group + seeds, group + self.seeds
        if tested > 0:
            df = tested**2 / (group**2 / df + below)
        reach = float(stdtrit(df, 1 - self.alpha / 2)) * tested**0.5
        reach += float(stdtrit(df, power)) * true**0.5
        return abs(difference) > 0 and abs(difference) >= reach

    def _seeds_at(self, units: int) -> tuple[float, float]:
        """Give the part of seeds that the test will find on average, and `below`.

        It is s² / S less the interaction of groups and seeds, at least 0, so that on few units it
        is more than is there. s² / S is about χ² of S - 1, over S - 1, times its expected value;
        its square, which `below` has, is 1 + 2 / (S - 1) times as large as that value's. Methods
        are taken to have alike seeds.
        """
        from scipy.special import chdtrc

        if not self.methods:
            return 0.0, 0.0
        squares = {s: (1 + 2 / (s - 1)) / (s - 1) for s in self.methods}
        wholes = self.below / sum(squares[s] / s**2 for s in self.methods)
        shares = sum(1 / s for s in self.methods)
        found = below = 0.0
        for s in self.methods:
            own = self.seeds / s / shares
            interaction = max(wholes**0.5 / s - own, 0.0) * self.units / units
            whole, df = own + interaction, s - 1
            if whole > 0:
                place = df * interaction / whole
                found += whole * chdtrc(df + 2, place) - interaction * chdtrc(df, place)
                below += whole**2 * squares[s]
        return float(found), float(below)


def pair_alpha(test: Test, family: Family, size: int, error: float, df: float) -> float:
    """Give the level of a single test that is as strict as this pair's in its family.

    Of max-T it is read off the simultaneous interval: its half-width over the standard error is
    Student's t of the level. Where it has no end, and of other families, 5% over the number of
    pairs (Bonferroni).

    Parameters
    ----------
    size : int
        Pairs of the family.
    error, df : float
        Standard error of the difference, and its degrees of freedom.
    """
    from scipy.special import stdtr

    low, high = family.interval(test, LEVEL)
    if not isinstance(family, MaxT) or not np.isfinite(high - low) or not error > 0:
        return ALPHA / size
    return min(2 * float(stdtr(df, -(high - low) / 2 / error)), ALPHA)


def plan_groups(
    frame: pd.DataFrame,
    differences: Sequence[float] = DECLARED,
    powers: Sequence[float] = POWERS,
) -> pd.DataFrame:
    """Plan how many groups would decide each pair that `compare` returned.

    Parameters
    ----------
    frame : DataFrame
        What `compare` returned.
    differences : sequence of float
        True differences to plan for, as fractions; the observed one is always planned for.
    powers : sequence of float
        Chances of finding the difference.

    Returns
    -------
    DataFrame
        Columns `PLAN_COLUMNS`, a row for each pair, difference and power. `groups_needed` is
        infinite where no number of groups is enough, and NaN where nothing was tested, or where the
        difference does not vary between groups: then that of the observed one is `compare`'s.
        `verdict` is that of the comparison at hand.
    """
    records = []
    for row in frame.to_dict("records"):
        about = {name: row.get(name) for name in PLAN_COLUMNS}
        for difference in (row["difference"], *differences):
            for power in powers:
                # Without a variance there is what `compare` says: if all to come are like these.
                needed = row["groups_needed"] if difference == row["difference"] else math.nan
                if not math.isnan(row["pair_alpha"]):
                    needed = Errors.of(row).needed(difference, power)
                records.append(
                    about
                    | {"observed": row["difference"], "difference": difference}
                    | {"power": power, "groups_needed": needed}
                )
    return pd.DataFrame(records, columns=list(PLAN_COLUMNS))

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

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.decisions import ALPHA, LEVEL
from frostline.report.statistics.comparisons.multiplicity import Family, MaxT, Test
from frostline.report.statistics.names import OUT_OF_FOLD
from frostline.report.statistics.resampling.seeds_variance import SeedsPart, SeedsTest

POWER = 0.8
POWERS = (0.8, 0.9)
# Differences that are planned for where none is declared: points, of shares.
DECLARED = (0.01, 0.02, 0.05, 0.1)
MOST_UNITS = 10**9
# Of two seeds: of one degree of freedom nothing is known of how much seeds vary.
FEWEST_DF = 2
PLAN_COLUMNS = (
    *("dataset", "a", "b", "metric", "observed", "difference", "power", "groups_needed"),
    *(
        "n_units",
        "unit",
        "split",
        "positive",
        "notes",
        "pair_alpha",
        "label_a",
        "label_b",
        "verdict",
    ),
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
    seeds : SeedsPart or None
        What seeds add, however many units there are, and their interaction with them.
    alpha : float
        The level at which this pair is tested, so that its family keeps to 5%.
    repeats : bool
        Whether seeds are repeats of a cross-validation, in which more units train, too: what they
        add is taken to shrink as the variance between units does.
    """

    units: int
    effective: float
    group: float
    seeds: SeedsPart | None = None
    alpha: float = ALPHA
    repeats: bool = False

    @classmethod
    def of(cls, row: Mapping[Any, Any]) -> Errors:
        """Take them from a row of `compare`."""
        group, added = float(row["group_error"]) ** 2, float(row["seed_error"]) ** 2
        units, effective = int(row["n_units"]), float(row["effective_units"])
        seeds = None
        if not math.isnan(added):
            shared = float(row["interaction_error"]) ** 2
            seeds = SeedsPart(added + shared, shared, float(row["seed_df"]))
        repeats = row.get("split") == OUT_OF_FOLD
        return cls(units, effective, group, seeds, float(row["pair_alpha"]), repeats)

    def needed(self, difference: float, power: float = POWER) -> float:
        """Give the least number of units that finds a true difference with this power.

        Infinite where no number does: of a difference of 0, or where seeds alone vary too much;
        NaN where the errors are unknown, or known by two seeds alone. Signs are flipped of as many
        units as can reject at all.
        """
        if math.isnan(difference) or not (self.group >= 0 and self.effective > 1):
            return math.nan
        if self.seeds is not None and self.seeds.whole > 0 and self.seeds.df < FEWEST_DF:
            return math.nan
        enough = 2 if self.seeds else 1 + math.floor(1 - math.log2(self.alpha))
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
        from scipy.special import ndtri

        df = self.effective * units / self.units - 1
        if df <= 0:
            return False
        test = self._test_at(units, df)
        true = self.group * self.units / units + self._added(units)
        reach = test.reach(float(ndtri(1 - self.alpha / 2)))
        if test.error > 0:
            reach += test.reach(float(ndtri(power))) * true**0.5 / test.error
        return abs(difference) > 0 and abs(difference) >= reach

    def _added(self, units: int) -> float:
        """Give what seeds add to the variance, of a number of units."""
        added = 0.0 if self.seeds is None else self.seeds.error(self.group) ** 2
        return added * self.units / units if self.repeats else added

    def _test_at(self, units: int, df: float) -> SeedsTest:
        """Give the test as it will be on average, of a number of units and their df.

        What seeds add is s² / S less the interaction of groups and seeds, at least 0, so that on
        few units more is found than there is. s² / S is about χ² of its degrees of freedom, over
        those, times its expected value.
        """
        from scipy.special import chdtrc

        group = self.group * self.units / units
        if self.seeds is None:
            return SeedsTest(0.0, group, df)
        interaction = self.seeds.shared(self.group) * self.units / units
        whole = self._added(units) + interaction
        found = 0.0
        if whole > 0:
            place = self.seeds.df * interaction / whole
            found += whole * chdtrc(self.seeds.df + 2, place)
            found -= interaction * chdtrc(self.seeds.df, place)
        return SeedsTest(0.0, group - interaction, df, found + interaction, self.seeds.df)


def pair_alpha(test: Test, family: Family, size: int, error: float, df: float) -> float:
    """Give the level of a single test that is as strict as this pair's in its family.

    Of max-T it is read off the simultaneous interval: it is the p of its end, of sign flips that of
    Student's t of its half-width. Where it has no end, and of other families, 5% over the number of
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
    if isinstance(test, SeedsTest):
        return min(test.p(high), ALPHA)
    return min(2 * float(stdtr(df, -(high - low) / 2 / error)), ALPHA)


def plan_assumed(
    discordance: float,
    groups: int | None = None,
    differences: Sequence[float] = DECLARED,
    powers: Sequence[float] = POWERS,
) -> pd.DataFrame:
    """Plan a comparison of two accuracies before there is a pilot, from assumptions alone.

    Of each patient one answer counts, right or wrong. If a share `discordance` of patients is right
    by one method alone, and the difference is δ, the difference of a patient varies by
    discordance - δ² (Connor 1987, Sample size for testing differences in proportions for the
    paired-sample design). One pair, at 5%, with one trained model of each method.

    Parameters
    ----------
    discordance : float
        Share of patients that one of the methods gets right and the other wrong, in (0, 1].
    groups : int, optional
        Patients that there will be.
    differences : sequence of float
        True differences to plan for, as fractions; none can be larger than the discordance.
    powers : sequence of float
        Chances of finding the difference.

    Returns
    -------
    DataFrame
        A row for each difference: `discordance`, `difference`, `groups_needed_<power>` of each
        power (`groups_needed_0.8`), infinite where no number is enough, and, if `groups` is given,
        `n_units` and `power`, the chance of finding it with so many.

    Raises
    ------
    InputError
        If there can be no such discordance, number of patients or difference.
    """
    _check_assumed(discordance, groups, differences)
    records = []
    for difference in differences:
        units = groups or 100  # any number: the variance is that of their mean
        errors = Errors(units, units, (discordance - difference**2) / units)
        row: dict[str, Any] = {"discordance": discordance, "difference": difference}
        row |= {f"groups_needed_{power:g}": errors.needed(difference, power) for power in powers}
        records.append(row if groups is None else row | _power(errors, difference, groups))
    return pd.DataFrame(records)


def _check_assumed(discordance: float, groups: int | None, differences: Sequence[float]) -> None:
    if not 0 < discordance <= 1:
        raise InputError(
            f"The discordance is a share of patients above 0 and at most 1, not {discordance:g}."
        )
    if groups is not None and groups < 2:
        raise InputError(f"A comparison needs 2 patients or more, not {groups}.")
    larger = [one for one in differences if not 0 < one < discordance]
    if larger:
        raise InputError(
            f"A difference of {larger[0]:g} cannot be where {discordance:g} of the patients are "
            "right by one method alone: give one above 0 and below the discordance."
        )


def _power(errors: Errors, difference: float, groups: int) -> dict[str, Any]:
    """Give the chance of finding a difference with so many units, whose variance is `errors`'."""
    from scipy.special import stdtr, stdtrit

    reach = float(stdtrit(groups - 1, 1 - errors.alpha / 2))
    chance = float(stdtr(groups - 1, difference / errors.group**0.5 - reach))
    return {"n_units": groups, "power": chance}


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

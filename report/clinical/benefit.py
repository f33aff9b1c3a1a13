"""Net benefit at thresholds that were fixed beforehand, against acting on all and on none.

Vickers and Elkin (2006): who acts above a threshold probability t holds one needless action for
t / (1 - t) of a missed one, so that acting is worth TP / n - FP / n x t / (1 - t).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.statistics.comparisons.methods import Method, group_methods
from frostline.report.statistics.curves import method_rows
from frostline.report.statistics.evaluation import about_run, as_scored, place_notes
from frostline.report.statistics.intervals.bounds import TAIL, at_bound, t_bounds
from frostline.report.statistics.intervals.flags import FEWEST_UNITS
from frostline.report.statistics.intervals.reasons import UNVARYING
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.resampling.seeds_variance import (
    NEGLIGIBLE,
    group_variance,
    seeds_part,
)
from frostline.report.statistics.resampling.weights import effective_number
from frostline.report.statistics.sample import WHICH_IS_POSITIVE, Runs

THRESHOLDS = (0.05, 0.1, 0.2)
FEW = Note("Few units: fewer than 20 of equal size, so intervals may not cover.")
NAN = float("nan")
Bools = npt.NDArray[np.bool_]
Bounded = tuple[float, float, float]


def net_benefit(
    predictions: Runs,
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Compute the net benefit of acting on a class above each threshold, with 95% intervals.

    Runs that differ in their seed alone are one method, whose net benefit is the mean over seeds.
    Of two classes it is that of the positive one; of more each against the rest is a row, or
    `positive` alone.

    Parameters
    ----------
    predictions, split, unit, aggregate, classes
        As in `evaluate`.
    thresholds : sequence of float
        Probabilities between 0 and 1, fixed before any data were seen: nothing is chosen here.
    positive : str, optional
        The class that is acted on, of any number of classes.

    Returns
    -------
    DataFrame
        A row a method, class and threshold: what says which run it is, as in `evaluate`, and
        `positive`, `threshold`, `net_benefit` with `low` and `high`, `act_on_all`, `difference` (to
        the better of acting on all and on none, which is 0; `better` names it) and `avoided` (net
        interventions avoided of 100 images, against acting on all), the last three with `_low` and
        `_high`; `n_seeds`, `n_units`, `n_images`, `unit`, `split`, `notes`.

    Raises
    ------
    InputError
        If a threshold is not between 0 and 1, a run has no probabilities, or no such class.
    """
    chosen = check_thresholds(thresholds)
    scored = as_scored(
        predictions, split=split, unit=unit, aggregate=aggregate, classes=classes, positive=None
    )
    for run, sample in scored:
        if sample.probs is None:
            raise InputError(
                f"{run.run} has no probabilities, so that nothing is above a threshold: give prob_ "
                "columns."
            )
        if positive is not None and positive not in sample.classes:
            names = ", ".join(sample.classes)
            raise InputError(f"--positive {positive!r} is no class of {run.run}: it has {names}.")
    return benefit_frame(group_methods(scored), chosen, positive)


def check_thresholds(thresholds: Iterable[float]) -> tuple[float, ...]:
    """Give thresholds as numbers, each once and in order.

    Raises
    ------
    InputError
        If there is none, or one is not between 0 and 1.
    """
    found = [float(one) for one in thresholds]
    for one in found:
        if not 0 < one < 1:
            raise InputError(
                f"The threshold {one:g} is not between 0 and 1: give probabilities, such as "
                "--net-benefit 0.05,0.1,0.2."
            )
    if not found:
        raise InputError("There is no threshold: give some, such as --net-benefit 0.05,0.1,0.2.")
    return tuple(sorted(set(found)))


def parse_thresholds(text: str) -> tuple[float, ...]:
    """Read thresholds from a text such as "0.05,0.1,0.2".

    Raises
    ------
    InputError
        If one is no number between 0 and 1.
    """
    try:
        return check_thresholds(float(one) for one in text.split(","))
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"--net-benefit takes probabilities with commas, such as 0.05,0.1,0.2, not {text!r}."
        ) from error


def benefit_frame(
    methods: Sequence[Method], thresholds: Sequence[float], positive: str | None = None
) -> pd.DataFrame:
    """Make what `net_benefit` returns, of the methods that have probabilities."""
    records: list[dict[str, Any]] = []
    for method in methods:
        rows = method_rows(method)
        if rows is None:
            continue
        truth, probs, member = rows
        names = method.sample.classes
        numbers = [1] if len(names) == 2 else list(range(len(names)))
        for number in numbers if positive is None else [names.index(positive)]:
            class_rows = _Rows(truth == number, probs[:, :, number], member)
            about = _about(method, names[number], given=positive is not None)
            records += [about | _at(class_rows, one, about) for one in thresholds]
    return pd.DataFrame(records)


@dataclass(frozen=True)
class _Share:
    """A share of images, the mean over seeds, with its interval over units.

    `values` [S] are those of seeds and `residuals` [G, S] the hits of units less their part of it.
    """

    value: float
    low: float
    high: float
    values: Array
    residuals: Array


@dataclass(frozen=True)
class _Rows:
    """Whether rows are of the class [n], their probabilities of each seed [S, n], and units [n]."""

    positive: Bools
    probs: Array
    member: Codes

    @property
    def sizes(self) -> Array:
        """Images of each unit, [G]."""
        return np.bincount(self.member).astype(np.float64)

    def share(self, hits: Bools) -> _Share:
        """Bound the share of images that are hits [S, n].

        On the logit scale; Clopper and Pearson's where it is 0 or 1, units of equal size being the
        trials. NaN where it is the same in every unit.
        """
        sizes = self.sizes
        ones = np.ones(len(sizes), dtype=np.int64)
        sums = np.stack([np.bincount(self.member, one, len(sizes)) for one in hits], axis=1)
        values = hits.mean(1)
        residuals = sums - values * sizes[:, None]
        mean, low, high = float(values.mean()), NAN, NAN
        if at_bound(mean, (0.0, 1.0)):
            reach = float(TAIL ** (1 / effective_number(sizes, ones)))
            low, high = (0.0, 1 - reach) if mean < 0.5 else (reach, 1.0)
        else:
            factor = np.inf if np.ptp(sizes) == 0 else 2.0
            variance, df = group_variance(residuals.mean(1), sizes, ones, factor=factor)
            if variance > NEGLIGIBLE:
                low, high = t_bounds(mean, variance**0.5, df, (0.0, 1.0))
        return _Share(mean, low, high, values, residuals)

    def difference(self, a: Bools, b: Bools, weights: tuple[float, float]) -> Bounded:
        """Bound the weighted difference of two shares by their own intervals.

        The method of variance estimates recovery (Zou and Donner 2008) with the
        correlation of the shares over units: the interval of rare errors is not symmetric, and the
        variance of errors of which none was seen would be 0. What seeds add (`seeds_part`), by
        Student's t of their own, is added to its square on either side.
        """
        one, other = self.share(a), self.share(b)
        residuals = weights[0] * one.residuals - weights[1] * other.residuals
        values = weights[0] * one.values - weights[1] * other.values
        added = self._of_seeds(values, residuals, max(weights))
        left, right = one.residuals.mean(1), other.residuals.mean(1)
        product = float(np.sqrt((left**2).sum() * (right**2).sum()))
        together = float((left * right).sum()) / product if product > 0 else 0.0

        def reach(of_one: float, of_other: float) -> float:
            x, y = weights[0] * of_one, weights[1] * of_other
            return float(np.sqrt(max(x**2 + y**2 - 2 * together * x * y, 0.0) + added**2))

        centre = float(values.mean())
        low = centre - reach(one.value - one.low, other.high - other.value)
        return centre, low, centre + reach(one.high - one.value, other.value - other.low)

    def _of_seeds(self, values: Array, residuals: Array, step: float) -> float:
        """Give how far seeds alone move the ends of an interval; 0 of one seed."""
        from scipy.special import stdtrit

        sizes = self.sizes
        ones = np.ones(len(sizes), dtype=np.int64)
        moved = step * float(sizes.min() / sizes.sum())
        part = seeds_part(values, residuals / sizes.sum(), ones, moved)
        if part is None:
            return 0.0
        group, _ = group_variance(residuals.mean(1), sizes, ones)
        return float(stdtrit(part.df, 1 - TAIL)) * part.error(group)


def _at(rows: _Rows, threshold: float, about: dict[str, Any]) -> dict[str, Any]:
    """Compute a row: what acting above a threshold is worth."""
    odds = threshold / (1 - threshold)
    acted, positive = rows.probs >= threshold, rows.positive
    benefit = rows.difference(acted & positive, acted & ~positive, (1.0, odds))
    to_all = rows.difference(~acted & ~positive, ~acted & positive, (odds, 1.0))
    of_class = rows.share(positive[None])
    every = tuple((1 + odds) * one - odds for one in (of_class.value, of_class.low, of_class.high))
    # The lower of both, between the lower of both ends: above 0 only where both are (Berger 1982).
    # At a tie, where an interval of the one that looks better would miss more often, it misses 5%.
    better = tuple(float(one) for one in np.minimum(benefit, to_all))
    found = {
        "": benefit,
        "act_on_all": every,
        "difference": better,
        "avoided": tuple(100 * one / odds for one in to_all),
    }
    out: dict[str, Any] = {"threshold": threshold, "better": "all" if every[0] > 0 else "none"}
    for name, (value, low, high) in found.items():
        ends = ("low", "high") if not name else (f"{name}_low", f"{name}_high")
        out |= {name or "net_benefit": value, ends[0]: low, ends[1]: high}
    unvarying = np.isnan([*benefit, *to_all, *every]).any()
    why = [Note(UNVARYING.format(unit=about["unit"]))] if unvarying else []
    return {**out, "notes": (*about["notes"], *why)}


def _about(method: Method, name: str, *, given: bool) -> dict[str, Any]:
    """Say which method and class a row is of."""
    run, sample = method.runs[0]
    notes = list(dict.fromkeys(note for _, one in method.runs for note in one.notes))
    if given:
        notes = [note for note in notes if note.text != WHICH_IS_POSITIVE.text]
    if sample.effective_units < FEWEST_UNITS:
        notes.append(FEW)
    owners = {run.run: [one.run for one, _ in method.runs]}
    # What is of the positive class is of net benefit too.
    placed = [
        Note(one.text, (), one.classes, one.runs, first=one.first)
        for one in notes
        if not one.metrics or one.text == WHICH_IS_POSITIVE.text
    ]
    return about_run(run, sample) | {
        "run_seed": run.meta.get("seed") if len(method.runs) == 1 else None,
        "n_seeds": len(method.runs),
        "positive": name,
        "n_units": sample.n_units,
        "unit": sample.unit,
        "notes": place_notes(placed, "", method.dataset, owners),
    }

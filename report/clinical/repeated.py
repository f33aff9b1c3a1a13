"""Intervals with the choice of the threshold repeated, and when they may not cover."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from frostline.report.clinical.choice import Choice, Rows
from frostline.report.clinical.held import RATIOS
from frostline.report.notes import Note, Notes
from frostline.report.statistics.intervals.bounds import TAIL, percentile_bounds
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.metrics import Array
from frostline.report.statistics.resampling.weights import effective_number

Bounds = tuple[float, float]
SHARED = "Each fold chooses on the others: intervals with the choice repeated are cautious."
# Units of each class to choose on, measured by `benchmarks/operating.py`.
FEWEST_TO_CHOOSE = 20
# And of the class whose share is wanted, units that the rule lets be on the wrong side.
FEWEST_BEYOND = 1.5


def repeated_bounds(
    choice: Choice, held: Mapping[str, Interval], replicates: int, seed: int
) -> dict[str, Bounds]:
    """Bound every number of a model whose threshold is chosen in this way.

    Two things vary: what is scored, as the held interval says, and the threshold. It is chosen
    again on units of validation drawn with replacement, and scored on the same rows. Both are
    independent, and so their distances from the estimate are added as squares, below and above it
    (Zou and Donner 2008). Of shares they are on the logit scale, and that of the choice is its
    standard deviation over the replicates, by the delta method, times Student's t; of likelihood
    ratios, and of shares that are 0 or 1, it is that of the central 95% of replicates, on the log
    scale and as they are.

    In a cross-validation the same units are chosen on and scored: the central 95% of replicates
    that do both.

    Parameters
    ----------
    held : mapping
        What `held_intervals` gave.

    Returns
    -------
    dict
        Low and high of every number; NaN where there is no held interval, or the choice is
        undefined in more than 1% of replicates.
    """
    drawn = choice.repeated(replicates, seed)
    out = {}
    for name, interval in held.items():
        low, high, _ = percentile_bounds(drawn[name])
        if not choice.is_cv and not np.isnan(low):
            assert choice.choosing is not None
            low, high = _added(name, interval, drawn[name], choice.choosing.units)
        out[name] = (low, high) if np.isfinite([low, high, interval.low]).all() else (np.nan,) * 2
    return out


def _added(name: str, held: Interval, drawn: Array, units: int) -> Bounds:
    """Add the squares of both distances from the estimate, on the scale of the number."""
    from scipy.special import expit, logit, stdtrit

    estimate, ends = held.estimate, np.array([held.low, held.high])
    side = np.array([-1.0, 1.0])
    if name not in RATIOS and 0 < estimate < 1:
        error = float(np.nanstd(drawn, ddof=1)) / (estimate * (1 - estimate))
        beyond = float(stdtrit(max(units - 1, 1), 1 - TAIL)) * error
        with np.errstate(divide="ignore"):
            found = expit(logit(estimate) + side * np.hypot(logit(ends) - logit(estimate), beyond))
        return float(found[0]), float(found[1])
    values = np.array([estimate, *ends, *percentile_bounds(drawn)[:2]])
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log(values) if name in RATIOS else values
        beyond_each = np.maximum(side * (values[3:] - values[0]), 0.0)
        found = values[0] + side * np.hypot(values[1:3] - values[0], beyond_each)
    found = np.exp(found) if name in RATIOS else np.clip(found, 0, 1)
    return float(found[0]), float(found[1])


def choice_notes(choice: Choice, unit: str, classes: Sequence[str]) -> Notes:
    """Say what the choice rests on, where that is little or nothing.

    Parameters
    ----------
    unit : str
        What is drawn: "group" or "image".
    classes : sequence of str
        Those of `Choice.scored`: the rest, then the positive class.
    """
    rows, rule = choice.choosing, choice.rule
    if rows is None:
        return ()
    units = [_effective(rows, rows.positive == bool(place)) for place in (0, 1)]
    missing = tuple(name for name, count in zip(classes, units, strict=True) if not count)
    if missing or np.isnan(choice.thresholds).any():
        text = f"No value: no {unit} to choose on is of a class."
        return (Note(text, classes=missing, first=True),)
    notes = [Note(SHARED)] if choice.is_cv else []
    wanted = {"specificity": 0, "sensitivity": 1}.get(rule.kind)
    if wanted is not None and (empty := _reached(choice)):
        notes.append(Note(empty))
    for place, (name, count) in enumerate(zip(classes, units, strict=True)):
        fewest = float(FEWEST_TO_CHOOSE)
        if place == wanted:
            beyond = 1 - rule.value
            fewest = max(fewest, FEWEST_BEYOND / beyond if beyond > 0 else np.inf)
        if count < round(fewest, 9):
            few = f"Fewer than {np.ceil(fewest - 1e-9):.0f} {unit}s of a class to choose on"
            few = few if np.isfinite(fewest) else "The threshold rests on one case of a class"
            notes.append(
                Note(f"{few}: intervals with the choice repeated may not cover.", (), (name,))
            )
    return tuple(notes)


def _effective(rows: Rows, chosen: Array) -> float:
    """Count the units with such rows as equal ones."""
    images = np.bincount(rows.member, chosen, rows.units)
    return float(effective_number(images, np.ones(rows.units, dtype=np.int64)))


def _reached(choice: Choice) -> str:
    """Say that a wanted share is reached only by calling all, or none."""
    rows, kind = choice.choosing, choice.rule.kind
    assert rows is not None
    for at, (chosen, candidates) in zip(choice.thresholds, rows.candidates, strict=True):
        last = candidates.thresholds[-1]
        if kind == "sensitivity" and at == last and not rows.positive[chosen].all():
            return (
                "Only a threshold that calls every case has the wanted sensitivity on validation."
            )
        if kind == "specificity" and np.isinf(at):
            return "Only a threshold that calls no case has the wanted specificity on validation."
    return ""

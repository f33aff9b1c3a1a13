"""The interval of a user's own metric: a function of truth, prediction and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.statistics.intervals.bounds import percentile_bounds
from frostline.report.statistics.intervals.estimates import Draws
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.metrics import OWN_METRICS, Array
from frostline.report.statistics.resampling.units import draw_units
from frostline.report.statistics.sample import Sample

KINDS = ("auto", "percentile")
# A function is called once a replicate, and may take a millisecond.
REPLICATES = 1_000
BLOCK = 100
Codes = npt.NDArray[np.int64]


def own_interval(sample: Sample, name: str, ci: str, draws: Draws) -> Interval:
    """Score a sample by a user's function, with the percentile bootstrap over its units.

    Replicates for which the function raises ValueError or gives NaN count as undefined.

    Raises
    ------
    InputError
        If the function fails on the sample itself, or another interval is asked for.
    """
    if ci not in KINDS:
        raise InputError(
            f"{name} is a function of your own, which has the percentile bootstrap alone: ask for "
            f"ci='percentile' or 'auto', not {ci!r}."
        )
    columns = _columns(sample)
    try:
        centre = _call(name, columns)
    except Exception as error:
        raise InputError(f"Your metric {name} failed: {type(error).__name__}: {error}.") from error
    low, high, text = percentile_bounds(_replicates(sample, name, columns, draws))
    notes = (Note(text, (name,)),) if text else ()
    return Interval(
        centre, low, high, "percentile", draws.replicates, sample.unit, sample.n_units, notes
    )


def _columns(sample: Sample) -> list[Any]:
    """Give truth and prediction as names of classes, and probabilities; rows sorted by name."""
    classes = np.array(sample.classes, dtype=object)
    order = np.arange(len(sample.truth)) if sample.ids is None else np.argsort(sample.ids)
    probs = None if sample.probs is None else sample.probs[order]
    return [classes[sample.truth[order]], classes[sample.prediction[order]], probs, order]


def _call(name: str, columns: list[Any], rows: Codes | None = None) -> float:
    given = [part if part is None or rows is None else part[rows] for part in columns[:3]]
    return float(OWN_METRICS[name](*given))


def _replicates(sample: Sample, name: str, columns: list[Any], draws: Draws) -> Array:
    order = columns[3]
    n = len(order)
    member = np.arange(n) if sample.groups is None else sample.groups[order]
    _, first, member = np.unique(member, return_index=True, return_inverse=True)
    # Numbered in the order of their first rows, so that the draws do not depend on the file's.
    member = np.argsort(np.argsort(first))[member]
    stratum = _strata(sample.truth[order], member, len(first))
    rng, values = draws.generator(), []
    for start in range(0, draws.replicates, BLOCK):
        size = min(BLOCK, draws.replicates - start)
        counts = draw_units(stratum, size, rng, stratified=draws.stratified)
        for column in counts.T:
            try:
                values.append(_call(name, columns, np.repeat(np.arange(n), column[member])))
            except ValueError:
                values.append(np.nan)
    return np.array(values)


def _strata(truth: Codes, member: Codes, units: int) -> Codes:
    """Give the class of each unit; units of several classes are a stratum of their own, -1."""
    lowest, highest = np.full(units, truth.max()), np.zeros(units, dtype=np.int64)
    np.minimum.at(lowest, member, truth)
    np.maximum.at(highest, member, truth)
    return np.where(lowest == highest, lowest, -1)

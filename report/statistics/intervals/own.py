"""The interval of a user's own metric."""

from __future__ import annotations

import numpy as np

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.statistics.intervals.bounds import percentile_bounds
from frostline.report.statistics.intervals.estimates import Draws
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.own_metrics import CALLS_AT_ONCE, Answers, number_units
from frostline.report.statistics.resampling.units import block_sizes, draw_units, unit_strata
from frostline.report.statistics.sample import Sample

OWN_INTERVALS = ("auto", "percentile")
# A function is called once a replicate, and may take a millisecond.
OWN_REPLICATES = 1_000


def own_interval(sample: Sample, name: str, ci: str, draws: Draws) -> Interval:
    """Score a sample by a user's function, with the percentile bootstrap over its units.

    Replicates for which the function raises ValueError or gives NaN count as undefined.

    Raises
    ------
    InputError
        If the function fails on the sample itself, or another interval is asked for.
    """
    if ci not in OWN_INTERVALS:
        raise InputError(
            f"{name} is a function of your own, which has the percentile bootstrap alone: ask for "
            f"ci='percentile' or 'auto', not {ci!r}."
        )
    # Rows in the order of their names, so that the draws do not depend on the file's.
    n = len(sample.truth)
    order = np.arange(n) if sample.ids is None else np.argsort(sample.ids)
    truth, groups = sample.truth[order], sample.groups
    classes = np.array(sample.classes, dtype=object)
    probs = None if sample.probs is None else sample.probs[order]
    answers = Answers(classes[truth], classes[sample.prediction[order]], probs)
    member, units = number_units(None if groups is None else groups[order], n)
    centre = answers.score(name)
    values = _replicates(answers, name, truth, (member, units), draws)
    low, high, text = percentile_bounds(values)
    notes = (Note(text, (name,)),) if text else ()
    return Interval(centre, low, high, "percentile", draws.replicates, sample.unit, units, notes)


def _replicates(
    answers: Answers, name: str, truth: Codes, units: tuple[Codes, int], draws: Draws
) -> Array:
    member, n_units = units
    stratum = unit_strata(truth, member, n_units)
    rng, values = draws.generator(), []
    for size in block_sizes(draws.replicates, CALLS_AT_ONCE):
        counts = draw_units(stratum, size, rng, stratified=draws.stratified)
        rows = np.arange(len(truth))
        values += [answers.score_rows(name, np.repeat(rows, one[member])) for one in counts.T]
    return np.array(values)

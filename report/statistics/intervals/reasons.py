"""Why there is no interval: each cause in one sentence, the same of a score and of a difference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from frostline.report.notes import Note, Notes
from frostline.report.statistics.resampling.weights import class_number
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import ROC_METRICS

UNDEFINED = "No interval: undefined when one {unit} is left out."
ONE_OF_A_CLASS = "No interval: one {unit} alone is of a class."
ONE_UNIT = "No interval: one {unit} alone shows no variation."
ONE_CARRIES_ALL = "No interval: all of it rests on one {unit}."
UNVARYING = "No interval: leaving out any {unit} changes nothing."
# What is too few is the unit's, "seed" or "fold".
TOO_FEW = (
    "No interval: too few {unit}s (it would hold 95% of all values that there can be, or more)."
)
# An interval that holds so much of what a metric can be says nothing: a share of its range; of a
# loss, which has no highest value, the upper end as a multiple of the lower.
MOST_OF_RANGE = 0.95
MOST_TIMES = 100


def says_nothing(
    low: npt.ArrayLike, high: npt.ArrayLike, scale: tuple[float, float] | None
) -> npt.NDArray[np.bool_]:
    """Say whether an interval holds about all that there can be, so that it is better not shown.

    Without looking at any data, 95% of all values hold the true one as often as a 95% interval
    does, if every value is as likely as another.

    Parameters
    ----------
    low, high : float [...]
        Its ends, or those of many.
    scale : (float, float) or None
        The lowest and the highest value, the latter infinite for losses; None where there is
        neither: such an interval says nothing only where an end is infinite.
    """
    low, high = np.asarray(low), np.asarray(high)
    if scale is None:
        return np.asarray(np.isinf(low) | np.isinf(high))
    if np.isinf(scale[1]):
        return np.asarray(high > MOST_TIMES * low)
    return np.asarray(high - low >= MOST_OF_RANGE * (scale[1] - scale[0]))


def absent(metric: str, sample: Sample) -> Notes:
    """Say which classes a metric has no value for, because they do not occur."""
    missing = np.flatnonzero(sample.confusion.sum(1) == 0).tolist()
    names = tuple(sample.classes[number] for number in missing)
    return (Note("No value: a class does not occur.", (metric,), names),) if names else ()


def undefined(metric: str, sample: Sample) -> Note:
    """Say why a metric is undefined, or undefined without some unit, and by which classes."""
    if metric in ROC_METRICS and (none := absent(metric, sample)):
        return none[0]
    there = sample.kinds.counts @ (sample.kinds.matrices.sum(-1) > 0)
    about = class_number(metric, sample.classes)
    alone = [
        label
        for number, label in enumerate(sample.classes)
        if there[number] == 1 and about in (None, number)
    ]
    text = ONE_OF_A_CLASS if alone else UNDEFINED
    return Note(text.format(unit=sample.unit), (metric,), tuple(alone))

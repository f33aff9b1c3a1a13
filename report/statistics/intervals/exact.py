"""Exact tests of differences that leaving out any unit leaves as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frostline.report.statistics.intervals.bounds import at_bound
from frostline.report.statistics.intervals.flags import exact_trials
from frostline.report.statistics.metrics import metric_range, of_probabilities
from frostline.report.statistics.resampling.seeds_variance import NEGLIGIBLE
from frostline.report.statistics.sample import Sample

SMALLEST = 1e-300
SCORE_AT_END = "Clopper-Pearson of a score at its end"
ALIKE = "Clopper-Pearson of a difference that is the same in every {unit}"


@dataclass(frozen=True)
class ExactTest:
    """Clopper-Pearson's test of a difference that leaving out any unit leaves as it is.

    All trials were alike. If the true difference is δ and lies below the observed one, a trial is
    like them with a chance of at most (δ - lowest) / (difference - lowest), because none is below
    `lowest`; above the same holds of `highest`. The two-sided p is 2 x that chance to the number of
    trials.

    Attributes
    ----------
    difference : float
        As observed.
    lowest, highest : float
        The least and the most that it can be.
    trials : float
        How many there are, as `exact_trials` counts units.
    name : str
        What the test is, for tables.
    """

    difference: float
    lowest: float
    highest: float
    trials: float
    name: str

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`; 0 beyond what it can be."""
        return float(min(1.0, 2 * self._chance(delta) ** self.trials))

    def units_needed(self, units: int, alpha: float) -> float:
        """Say with how many units p is below `alpha`, if these are `units` and all stay alike;
        infinite where no number would do."""
        chance = self._chance(0.0)
        if chance == 1:
            return math.inf
        trials = math.log(alpha / 2) / math.log(max(chance, NEGLIGIBLE))
        return float(math.floor(units * trials / self.trials) + 1)

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`."""
        chance = ((1 - level) / 2) ** (1 / self.trials)
        low, high = (end + chance * (self.difference - end) for end in (self.lowest, self.highest))
        return low, high

    def statistic(self, delta: float = 0.0) -> float:
        """Give the standard normal quantile that has the p of `delta`, with its sign."""
        from scipy.special import ndtri

        size = -float(ndtri(max(self.p(delta), SMALLEST) / 2))
        return float(np.sign(self.difference - delta)) * size

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size."""
        from scipy.special import ndtr

        return self.interval(1 - 2 * float(ndtr(-largest)))

    def _chance(self, delta: float) -> float:
        """Give the largest chance of one trial to be like the observed ones."""
        end = self.lowest if delta < self.difference else self.highest
        reach, whole = abs(delta - self.difference), abs(self.difference - end)
        if reach <= NEGLIGIBLE:
            return 1.0
        return max(1 - reach / whole, 0.0) if whole > 0 else 0.0


def end_test(
    metric: str, values: tuple[float, float], samples: tuple[Sequence[Sample], Sequence[Sample]]
) -> ExactTest | None:
    """Make the test of a minus b where one is at an end of the range and the other never varies.

    None where they are not so. A score never varies where all rows have one answer (of ROC AUC, the
    same probabilities) and leaving out a unit changes nothing, which is for the caller to see.

    Parameters
    ----------
    values : (float, float)
        The score of a and of b.
    samples : (sequence of Sample, sequence of Sample)
        Those of the seeds of a and of b.
    """
    bounds = metric_range(metric, samples[0][0].classes)
    if bounds is None:
        return None
    for sign, end, other in ((1, 0, 1), (-1, 1, 0)):
        never = all(one_answer(sample, metric) for sample in samples[other])
        trials = min(exact_trials(metric, sample) for sample in samples[end])
        if never and trials > 0 and at_bound(values[end], bounds):
            top = sign if values[end] > sum(bounds) / 2 else -sign
            difference, width = values[0] - values[1], bounds[1] - bounds[0]
            lowest, highest = sorted([difference, difference - top * width])
            return ExactTest(difference, lowest, highest, width * trials, SCORE_AT_END)
    return None


def one_answer(sample: Sample, metric: str) -> bool:
    """Say whether all rows have one answer, which a metric that leaving out a unit leaves alone
    has in every sample.

    Not so where one class alone occurs, or never the one that is answered: with the first row of
    another class it is another number.
    """
    occur = np.unique(sample.truth)
    if len(occur) == 1:
        return False
    if not of_probabilities(metric):
        answers = np.unique(sample.prediction)
        return len(answers) == 1 and bool(np.isin(answers, occur).all())
    return sample.probs is not None and bool((sample.probs == sample.probs[0]).all())

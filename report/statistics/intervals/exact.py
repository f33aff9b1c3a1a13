"""The exact test of a score at an end of its range against one that no sample can change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frostline.report.statistics.intervals.bounds import at_bound
from frostline.report.statistics.intervals.flags import exact_trials
from frostline.report.statistics.metrics import find_metric, of_probabilities
from frostline.report.statistics.sample import Sample

SMALLEST = 1e-300


@dataclass(frozen=True)
class EndTest:
    """Clopper-Pearson's bound of the one score, less the other, which is what it is.

    Two-sided p of a share θ of which all trials were right is 2 θ to their number: the test whose
    interval `clopper_pearson` gives.

    Attributes
    ----------
    difference : float
        As observed.
    towards : 1 or -1
        On which side of the estimate the true difference cannot be.
    width : float
        The range of the metric.
    trials : float
        As `exact_trials` counts them.
    """

    difference: float
    towards: int
    width: float
    trials: float

    def p(self, delta: float = 0.0) -> float:
        """Give the two-sided p of a true difference of `delta`; 0 beyond the end of the range."""
        missing = self.towards * (self.difference - delta) / self.width
        if missing < -1e-12:
            return 0.0
        return float(min(1.0, 2 * max(1 - missing, 0.0) ** (self.width * self.trials)))

    def units_needed(self, units: int, alpha: float) -> float:
        """Say with how many units p is below `alpha`, if these are `units` and the score stays at
        its end; infinite where it is no better than the other."""
        missing = self.towards * self.difference / self.width
        if missing <= 1e-12:
            return math.inf
        trials = math.log(alpha / 2) / math.log1p(-min(missing, 1 - 1e-12)) / self.width
        return float(math.floor(units * trials / self.trials) + 1)

    def interval(self, level: float) -> tuple[float, float]:
        """Give every δ whose p is at least 1 - `level`."""
        share = ((1 - level) / 2) ** (1 / (self.width * self.trials))
        other = self.difference - self.towards * self.width * (1 - share)
        return min(other, self.difference), max(other, self.difference)

    def statistic(self, delta: float = 0.0) -> float:
        """Give the standard normal quantile that has the p of `delta`, with its sign."""
        from scipy.special import ndtri

        size = -float(ndtri(max(self.p(delta), SMALLEST) / 2))
        return float(np.sign(self.difference - delta)) * size

    def interval_at(self, largest: float) -> tuple[float, float]:
        """Give every δ at which the statistic is at most `largest` in size."""
        from scipy.special import ndtr

        return self.interval(1 - 2 * float(ndtr(-largest)))


def end_test(
    metric: str, values: tuple[float, float], samples: tuple[Sequence[Sample], Sequence[Sample]]
) -> EndTest | None:
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
    bounds = find_metric(metric).bounds
    if bounds is None:
        return None
    for sign, end, other in ((1, 0, 1), (-1, 1, 0)):
        never = all(one_answer(sample, metric) for sample in samples[other])
        trials = min(exact_trials(metric, sample) for sample in samples[end])
        if never and trials > 0 and at_bound(values[end], bounds):
            top = 1 if values[end] > sum(bounds) / 2 else -1
            return EndTest(values[0] - values[1], sign * top, bounds[1] - bounds[0], trials)
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

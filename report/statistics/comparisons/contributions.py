"""What each unit contributes to a metric of each run: what the test of a difference is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.comparisons.paired import Paired, leave_out_values
from frostline.report.statistics.metrics import Array, of_rows
from frostline.report.statistics.resampling.jackknife import pseudo_contributions
from frostline.report.statistics.resampling.weights import class_number, unit_weights

Step = Callable[[], None]


def no_step() -> None:
    """Do nothing after a step."""


@dataclass(frozen=True)
class Contributions:
    """Residuals and weights of the kinds of units, for each run.

    Attributes
    ----------
    residuals : float64 [U, M]
        Of a metric that is a mean over images, the sum over a unit's images less the metric times
        their number; of any other, the unit's jackknife pseudo-value (Tukey 1958), centred. They
        sum to 0 over units. NaN where the metric is undefined without a unit.
    weights : float64 [U, M]
        How much of the metric rests on a unit: see `unit_weights`.
    counts : int64 [U]
        How many units are of each kind.
    exact : bool
        Whether the metric is a mean over images: a difference that is the same in every unit is
        then evidence, where of pseudo-values it only says that leaving out one changes nothing.
    """

    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    exact: bool = False

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.counts.sum())


def contributions(paired: Paired, metric: str, step: Step = no_step) -> Contributions:
    """Compute what each kind of unit contributes to the metric of each run; `step` after each run.

    Kinds are in an order that does not depend on that of the runs, so that comparing a with b draws
    the same as comparing b with a.
    """
    made = _contributions(paired, metric, step)
    about = (np.sort(made.residuals, axis=1), np.sort(made.weights, axis=1), made.counts[:, None])
    order = np.lexsort(np.round(np.concatenate(about, axis=1), 9).T)
    return Contributions(made.residuals[order], made.weights[order], made.counts[order], made.exact)


def _contributions(paired: Paired, metric: str, step: Step) -> Contributions:
    values, counts = paired.estimates(metric), paired.unit_counts(metric)
    weights = unit_weights(metric, paired.classes, paired.images(metric), counts)
    sums = _sums_of_mean(paired, metric, weights)
    if sums is not None:
        for _ in values:
            step()
        return Contributions(sums - values * weights, weights, counts, exact=True)
    left, _ = leave_out_values(paired, metric, step)
    return Contributions(*pseudo_contributions(left.T, weights, counts), counts)


def _sums_of_mean(paired: Paired, metric: str, weights: Array) -> Array | None:
    """Give the sums over units of a metric that is a mean over images; None of any other."""
    if of_rows(metric):
        return paired.by_rows(metric).sums(metric)
    right = np.diagonal(paired.matrices, axis1=-2, axis2=-1)
    number = class_number(metric, paired.classes)
    if metric == "accuracy":
        return right.sum(-1).astype(np.float64)
    if number is not None and metric.startswith("recall["):
        return right[..., number].astype(np.float64)
    if number is not None and metric.startswith("specificity["):
        wrongly = paired.matrices[..., number].sum(-1) - right[..., number]
        return np.asarray(weights - wrongly)
    return None

"""What each unit contributes to a metric of each run: what the test of a difference is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.comparisons.paired import Paired, leave_out_values
from frostline.report.statistics.metrics import Array, find_metric, of_rows

Step = Callable[[], None]


def no_step() -> None:
    """Tell nobody that a step is done."""


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
        How much of the metric rests on a unit: its images; where classes weigh alike, the mean of
        its shares of each class.
    counts : int64 [U]
        How many units are of each kind.
    """

    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]

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
    return Contributions(made.residuals[order], made.weights[order], made.counts[order])


def _contributions(paired: Paired, metric: str, step: Step) -> Contributions:
    values = paired.estimates(metric)
    mean = _of_mean(paired, metric)
    if mean is not None:
        for _ in values:
            step()
        sums, weights, counts = mean
        return Contributions(sums - values * weights, weights, counts)
    left, counts = leave_out_values(paired, metric, step)
    units = int(counts.sum())
    pseudo = -(units - 1) * left.T
    weights = _weights(paired, metric)
    weights = weights * (units / (counts @ weights))
    return Contributions(pseudo - counts @ pseudo / units, weights, counts)


def _of_mean(paired: Paired, metric: str) -> tuple[Array, Array, npt.NDArray[np.int64]] | None:
    """Give sums and weights of a metric that is a mean over images; None of any other."""
    if of_rows(metric):
        return paired.by_rows(metric).sums(metric)
    right = np.diagonal(paired.matrices, axis1=-2, axis2=-1)
    of_class = paired.matrices.sum(-1)
    number = _class_number(paired, metric)
    if metric == "accuracy":
        sums, weights = right.sum(-1), of_class.sum(-1)
    elif metric.startswith("recall[") and number is not None:
        sums, weights = right[..., number], of_class[..., number]
    elif metric.startswith("specificity[") and number is not None:
        weights = of_class.sum(-1) - of_class[..., number]
        sums = weights - (paired.matrices[..., number].sum(-1) - right[..., number])
    else:
        return None
    return sums.astype(np.float64), weights.astype(np.float64), paired.counts


def _weights(paired: Paired, metric: str) -> Array:
    """Say how much of a metric rests on each kind of unit: [U, M]."""
    if of_rows(metric):
        rows = paired.by_rows(metric)
        by_class = np.repeat(rows.class_images()[:, None], rows.n_runs, axis=1)
        counts = np.ones(rows.n_units, dtype=np.int64)
    else:
        by_class, counts = paired.matrices.sum(-1), paired.counts
    number = _class_number(paired, metric)
    if number is not None:  # of precision and F1: images that are of the class, or called it
        called = paired.matrices[..., number].sum(-1)
        return np.asarray(called + by_class[..., number], dtype=np.float64)
    if not find_metric(metric).macro:
        return np.asarray(by_class.sum(-1), dtype=np.float64)
    total = np.tensordot(counts, by_class, axes=1)
    shares = np.divide(by_class, total, out=np.zeros(by_class.shape), where=total > 0)
    return np.asarray(shares.sum(-1))


def _class_number(paired: Paired, metric: str) -> int | None:
    _, bracket, rest = metric.partition("[")
    return paired.classes.index(rest[:-1]) if bracket and not of_rows(metric) else None

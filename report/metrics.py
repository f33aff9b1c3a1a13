"""Metrics of a confusion matrix, by scikit-learn's names and with its values.

Each is a function of confusion matrices `[..., K, K]` (rows truth, columns prediction, weights or
counts), vectorised over the leading axes: bootstrap replicates, runs. The class list is fixed, so a
class that nothing was called, or that no image has, still has its row and column. Where a ratio has
no denominator it counts as zero (scikit-learn's `zero_division=0`); an empty matrix gives NaN.

A new metric is a function and a line in `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.errors import InputError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A metric: its function, its title in tables, whether it is a proportion (0 to 1)."""

    function: Callable[[Array], Array]
    title: str
    proportion: bool = True


def confusion_matrix(
    truth: npt.NDArray[np.integer], prediction: npt.NDArray[np.integer], n_classes: int
) -> npt.NDArray[np.int64]:
    """Count pairs of class numbers: int64 [K, K], rows truth."""
    cells = np.bincount(truth.astype(np.int64) * n_classes + prediction, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def accuracy(confusion: Array) -> Array:
    """Share of weight on the diagonal (`accuracy_score`)."""
    return _ratio(_diagonal(confusion).sum(-1), confusion.sum((-2, -1)), empty=np.nan)


def balanced_accuracy(confusion: Array) -> Array:
    """Mean recall of the classes that are present in truth (`balanced_accuracy_score`)."""
    support = confusion.sum(-1)
    recall = _ratio(_diagonal(confusion), support)
    return _ratio(recall.sum(-1), (support > 0).sum(-1).astype(np.float64), empty=np.nan)


def precision_weighted(confusion: Array) -> Array:
    """Precision of each class, weighted by support (`precision_score(average="weighted")`)."""
    return _weighted(_ratio(_diagonal(confusion), confusion.sum(-2)), confusion)


def recall_weighted(confusion: Array) -> Array:
    """Recall of each class, weighted by support: the same number as accuracy."""
    return _weighted(_ratio(_diagonal(confusion), confusion.sum(-1)), confusion)


def f1_weighted(confusion: Array) -> Array:
    """F1 of each class, weighted by support (`f1_score(average="weighted")`)."""
    both = confusion.sum(-1) + confusion.sum(-2)
    return _weighted(_ratio(2 * _diagonal(confusion), both), confusion)


METRICS: dict[str, Metric] = {
    "accuracy": Metric(accuracy, "Accuracy"),
    "balanced_accuracy": Metric(balanced_accuracy, "Balanced accuracy"),
    "precision_weighted": Metric(precision_weighted, "Precision"),
    "recall_weighted": Metric(recall_weighted, "Recall"),
    "f1_weighted": Metric(f1_weighted, "F1 score"),
}


def check_metrics(names: Iterable[str] | None) -> list[str]:
    """The metrics asked for, or all; an unknown one is refused with the list."""
    chosen = list(METRICS if names is None else names)
    for name in chosen:
        if name not in METRICS:
            raise InputError(f"there is no metric {name!r}; choose from {', '.join(METRICS)}.")
    return chosen


def compute_metrics(
    confusion: npt.NDArray[np.generic], names: Iterable[str] | None = None
) -> dict[str, Array]:
    """Each named metric of `confusion` [..., K, K]: arrays of shape [...]."""
    values = np.asarray(confusion, dtype=np.float64)
    return {name: METRICS[name].function(values) for name in check_metrics(names)}


def _diagonal(confusion: Array) -> Array:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(top: Array, bottom: Array, empty: float = 0.0) -> Array:
    out = np.full(np.broadcast(top, bottom).shape, empty)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _weighted(per_class: Array, confusion: Array) -> Array:
    support = confusion.sum(-1)
    return _ratio((per_class * support).sum(-1), support.sum(-1), empty=np.nan)

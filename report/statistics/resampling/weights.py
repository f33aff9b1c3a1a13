"""How much of a metric rests on each unit, and how many equal units that is worth.

What a comparison weighs units by, an interval takes its degrees of freedom from, and a flag counts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import PER_CLASS, Array, find_metric


def class_number(metric: str, classes: Sequence[str]) -> int | None:
    """Give the number of the class that a metric such as `recall[melanoma]` is about, or None."""
    base, bracket, rest = metric.partition("[")
    return list(classes).index(rest[:-1]) if bracket and base in PER_CLASS else None


def unit_weights(
    metric: str,
    classes: Sequence[str],
    images: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]],
    counts: npt.NDArray[np.int64],
) -> Array:
    """Say how much of a metric rests on each kind of unit: [U, ...].

    Its images; where classes weigh alike, the mean of its shares of each class; of one class's
    metric the images in its denominator: those of the class, those called it (of the class where
    none is called it), both, or the others.

    Parameters
    ----------
    images : (int [U, ..., K], int [U, ..., K])
        Of each kind of unit, its images of each class, and its images that were called each.
    counts : int64 [U]
        How many units are of each kind.
    """
    true, called = images
    number = class_number(metric, classes)
    if number is not None:
        base = metric.partition("[")[0]
        never = np.tensordot(counts, called, axes=1) == 0
        weighed = {
            "recall": true,
            "precision": np.where(never, true, called),
            "f1": true + called,
            "specificity": true.sum(-1, keepdims=True) - true,
        }[base]
        return np.asarray(weighed[..., number], dtype=np.float64)
    if not find_metric(metric).macro:
        return np.asarray(true.sum(-1), dtype=np.float64)
    total = np.tensordot(counts, true, axes=1)
    shares = np.divide(true, total, out=np.zeros(true.shape), where=total > 0)
    return np.asarray(shares.sum(-1))


def effective_number(
    weights: npt.NDArray[np.number], counts: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Count units of unequal weight as equal ones: (Σw)² / Σw² (Kish 1965), [...]; 0 of none.

    Parameters
    ----------
    weights : [U, ...]
        Of each kind of unit.
    counts : int64 [U]
        How many units are of each kind.
    """
    values = np.asarray(weights, dtype=np.float64)
    total, squares = np.tensordot(counts, values, 1), np.tensordot(counts, values**2, 1)
    return np.divide(total**2, squares, out=np.zeros(np.shape(squares)), where=squares > 0)

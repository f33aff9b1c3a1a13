"""Validation scores of many heads on the same images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from frostline.report import compute_metrics

Array = NDArray[np.floating]

METRICS = {
    "log_loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "f1_weighted": True,
    "f1_macro": True,
    "matthews_corrcoef": True,
}
"""Scores of a sweep by scikit-learn's names, and whether higher is better."""


def score_heads(probabilities: Array, codes: NDArray[np.integer]) -> dict[str, NDArray[np.float64]]:
    """Score heads [h, n, k] against class codes [n] by every metric: float64 [h] each."""
    heads, count, classes = probabilities.shape
    own = probabilities[:, np.arange(count), codes].astype(np.float64)
    # As scikit-learn's log_loss: a probability of 0 costs a finite number.
    loss = -np.log(np.clip(own, np.finfo(np.float64).eps, 1)).mean(axis=1)
    entries = codes * classes + probabilities.argmax(axis=2)
    entries = entries + np.arange(heads)[:, None] * classes**2
    confusion = np.bincount(entries.ravel(), minlength=heads * classes**2)
    names = [name for name in METRICS if name != "log_loss"]
    table = confusion.reshape(heads, classes, classes)
    return {"log_loss": loss, **compute_metrics(table, names)}


def best_first(values: NDArray[np.float64], metric: str) -> int:
    """Find the position of the best value, of equals the first; NaN never wins."""
    order = values if METRICS[metric] else -values
    return int(np.argmax(np.where(np.isnan(order), -np.inf, order)))

"""Validation scores of many heads on the same images, or on the patients whose slices these are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.report import compute_metrics
from frostline.report.statistics.aggregate import scores_groups

Array = NDArray[np.floating]
Index = NDArray[np.intp]

METRICS = {
    "log_loss": False,
    "accuracy": True,
    "balanced_accuracy": True,
    "f1_weighted": True,
    "f1_macro": True,
    "matthews_corrcoef": True,
}
"""Scores of a sweep by scikit-learn's names, and whether higher is better."""


def score_heads(
    probabilities: Array, codes: NDArray[np.integer], groups: Index | None = None
) -> dict[str, NDArray[np.float64]]:
    """Score heads by every metric: float64 [h] each.

    Parameters
    ----------
    probabilities : float [h, n, k]
        Of each head, image and class.
    codes : int [n]
        The class of each image.
    groups : int [n], optional
        Where groups are scored, of one class each: the number of each image's group. A group gets
        the mean of its images' probabilities.
    """
    if groups is not None:
        probabilities, codes = _by_group(probabilities, codes, groups)
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


def scored_groups(images: pd.DataFrame) -> Index | None:
    """Number the groups of images where groups are scored: int [n]; None where images are.

    The rule is that of test scores, `aggregate="auto"`. Where every group is one image, that is
    scored.

    Parameters
    ----------
    images : DataFrame
        Those that are scored: `image_id`, `group_id` and `label`.
    """
    by_group, _ = scores_groups(images)
    if not by_group or not images["group_id"].duplicated().any():
        return None
    return np.asarray(pd.factorize(images["group_id"])[0], np.intp)


def _by_group(
    probabilities: Array, codes: NDArray[np.integer], groups: Index
) -> tuple[Array, NDArray[np.integer]]:
    """Average the probabilities of each group: float64 [h, groups, k], with its class [groups]."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    sums = np.add.reduceat(probabilities[:, order].astype(np.float64), starts, axis=1)
    return sums / counts[:, None], codes[order][starts]


def best_first(values: NDArray[np.float64], metric: str) -> int:
    """Find the position of the best value, of equals the first; NaN never wins."""
    order = values if METRICS[metric] else -values
    return int(np.argmax(np.where(np.isnan(order), -np.inf, order)))

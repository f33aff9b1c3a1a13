"""Heads that hardly learn, for comparison: the nearest class mean, and the class shares alone."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from frostline.probe.heads.grids import CentroidGrid
from frostline.probe.heads.knn import unit_rows
from frostline.probe.heads.preparation import Probe, prepare

Array = NDArray[np.floating]
DEFAULTS = CentroidGrid()


class CentroidProbe(Probe):
    """Nearest class mean on embeddings.

    Parameters
    ----------
    metric : {"euclidean", "cosine"}
        Cosine scales rows and means to unit length first.
    temperature : float
        Probabilities are the softmax of `-d^2 / (temperature * s^2)`: d is the distance to a
        class mean, s^2 the mean squared distance of training rows to their own. It does not change
        which class is nearest.

    Attributes
    ----------
    means_ : [n_classes, p]
    spread_ : float
        s^2.
    classes_ : [n_classes]
    """

    def __init__(
        self, *, metric: str = DEFAULTS.metric[0], temperature: float = DEFAULTS.temperature[0]
    ) -> None:
        self.metric = metric
        self.temperature = temperature

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Average embeddings X [n, p] by labels y [n]."""
        if self.metric not in ("euclidean", "cosine"):
            raise ValueError(f"metric must be 'euclidean' or 'cosine', and is {self.metric!r}.")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, and {self.temperature!r} is not.")
        data = prepare(self, X, y, sample_weight)
        present = np.unique(data.codes[data.weight > 0])
        self.classes_ = data.classes[present]
        rows = self._scaled(data.X)
        total = np.stack([data.weight * (data.codes == code) for code in present])
        means = (total @ rows) / total.sum(axis=1, keepdims=True)
        self.means_ = self._scaled(means).astype(data.X.dtype)
        distance = (total * self._distances(rows).T).sum()
        self.spread_ = float(max(distance / total.sum(), np.finfo(np.float32).tiny))
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""
        rows = self._scaled(self._checked(X))
        logits = -self._distances(rows) / (self.temperature * self.spread_)
        shares: Array = softmax(logits, axis=1)
        return shares

    def _scaled(self, X: Array) -> Array:
        return unit_rows(X) if self.metric == "cosine" else X

    def _distances(self, rows: Array) -> NDArray[np.float64]:
        """Squared distances to the means [n, n_classes]."""
        # About the mean of means, so that a common offset of all embeddings costs no digits.
        middle = self.means_.mean(axis=0)
        rows, means = rows - middle, self.means_ - middle
        cross = (rows @ means.T).astype(np.float64)
        own = np.einsum("np,np->n", rows, rows, dtype=np.float64)[:, None]
        squares = own - 2 * cross + np.einsum("kp,kp->k", means, means, dtype=np.float64)
        return np.maximum(squares, 0)


class MajorityProbe(Probe):
    """The most frequent class of training for every image; probabilities are the class shares.

    Attributes
    ----------
    shares_ : float64 [n_classes]
    classes_ : [n_classes]
    """

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Count labels y [n]; of embeddings X [n, p] only their shape is looked at."""
        data = prepare(self, X, y, sample_weight, least_classes=1)
        self.classes_ = data.classes
        counts = np.bincount(data.codes, data.weight, minlength=len(data.classes))
        self.shares_ = counts / counts.sum()
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give the class shares of training for every row: [n, n_classes]."""
        rows = self._checked(X)
        return np.tile(self.shares_, (len(rows), 1))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

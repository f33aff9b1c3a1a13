"""What every head does before it learns: check the data, weigh it, standardise it, split it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

Array = NDArray[np.floating]
Index = NDArray[np.intp]
# Bytes of a block of rows in float64.
_BLOCK = 1 << 19


class Probe(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of embeddings by its probabilities."""

    classes_: NDArray[Any]

    @abstractmethod
    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Give the most probable class of every row, of equals the first."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _checked(self, X: ArrayLike, dtype: Any = (np.float64, np.float32)) -> Array:
        """Check rows to answer for: float [n, p], as many columns as were fitted."""
        check_is_fitted(self)
        kinds = list(dtype) if isinstance(dtype, tuple) else dtype
        rows: Array = validate_data(self, X, dtype=kinds, reset=False)
        return rows


class Answered(Probe):
    """Probabilities that are known, dressed as an estimator for a scorer."""

    def __init__(self, classes: NDArray[Any], probabilities: Array) -> None:
        self.classes_ = classes
        self.probabilities = probabilities

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give them, whatever X is."""
        return self.probabilities


class ValidatedProbe(Probe):
    """A probe that may choose on folds of its training data, given as `cv`."""

    cv: Any
    class_weight: Any
    _least_classes = 2

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to embeddings X [n, p] and labels y [n]; `groups` [n] goes to `cv`."""
        least = self._least_classes
        data = prepare(self, X, y, sample_weight, self.class_weight, least_classes=least)
        self.classes_ = data.classes
        self._learn(data, [] if self.cv is None else folds(self.cv, data, groups))
        return self

    @abstractmethod
    def _learn(self, data: TrainingData, parts: list[tuple[Index, Index]]) -> None:
        """Choose on `parts`, rows to train and to validate on (none without `cv`); then fit."""


@dataclass(frozen=True)
class TrainingData:
    """Checked training data.

    Attributes
    ----------
    X : float32 or float64 [n, p]
    codes : int [n]
        Positions in `classes`.
    classes : [k]
        Distinct values of y, sorted.
    sample_weight : float64 [n]
        The user's.
    weight : float64 [n]
        The same times the weight of each row's class.
    """

    X: Array
    codes: Index
    classes: NDArray[Any]
    sample_weight: NDArray[np.float64]
    weight: NDArray[np.float64]


def prepare(
    estimator: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    class_weight: dict[Any, float] | str | None = None,
    *,
    least_classes: int = 2,
) -> TrainingData:
    """Check X and y as scikit-learn does, and weigh the rows.

    Raises
    ------
    ValueError
        If anything is not finite, lengths differ, or there are too few classes.
    """
    values, labels = validate_data(estimator, X, y, dtype=[np.float64, np.float32])
    check_classification_targets(labels)
    classes, codes = np.unique(labels, return_inverse=True)
    own = _check_sample_weight(sample_weight, values, dtype=np.float64, ensure_non_negative=True)
    weighted = np.unique(codes[own > 0])
    if len(weighted) < least_classes:
        only = ", ".join(repr(name) for name in classes[weighted].tolist())
        raise ValueError(
            f"{type(estimator).__name__} needs images of at least two classes, and y has only one "
            f"class: {only}."
        )
    factor = np.ones(len(classes))
    if class_weight is not None:
        factor = compute_class_weight(class_weight, classes=classes, y=labels, sample_weight=own)
    return TrainingData(values, codes, classes, own, own * factor[codes])


def standardise(X: Array, weight: NDArray[np.float64]) -> tuple[Array, Array]:
    """Give the weighted mean and deviation of every feature, 1 where it does not vary: [p], [p]."""
    share = weight / weight.sum()
    mean, variance = np.zeros(X.shape[1]), np.zeros(X.shape[1])
    # In blocks that a core's cache holds in float64: a copy of all would be twice their size.
    step = max(1, _BLOCK // (8 * max(X.shape[1], 1)))
    blocks = [slice(start, start + step) for start in range(0, len(X), step)]
    for rows in blocks:
        mean += share[rows] @ X[rows]
    for rows in blocks:
        variance += share[rows] @ np.square(X[rows] - mean)
    scale = np.sqrt(variance)
    # A feature that varies by rounding alone is constant: blowing it up would make it signal.
    constant = scale <= 10 * np.finfo(X.dtype).eps * np.abs(mean)
    scale[constant] = 1
    return mean.astype(X.dtype), scale.astype(X.dtype)


def seed_of(random_state: Any) -> int:
    """Give a seed: an int is itself one, anything else draws one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def folds(cv: Any, data: TrainingData, groups: ArrayLike | None) -> list[tuple[Index, Index]]:
    """List train and validation rows of every fold of a splitter, iterable or number of folds."""
    splitter = check_cv(cv, data.codes, classifier=True)
    found = list(splitter.split(data.X, data.codes, groups))
    for number, (train, _) in enumerate(found):
        seen = np.unique(data.codes[train][data.weight[train] > 0])
        if len(seen) < 2:
            raise ValueError(
                f"The training part of fold {number + 1} has images of {len(seen)} class only; "
                "use fewer folds, or stratified ones."
            )
    return found

"""Nearest neighbours by cosine, their votes weighted by similarity, for many k in one search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import get_scorer
from sklearn.utils.validation import check_is_fitted

from frostline.probe.heads.grids import KNNGrid
from frostline.probe.heads.preparation import Answered, Index, TrainingData, ValidatedProbe

Array = NDArray[np.floating]

DEFAULTS = KNNGrid()

# Similarities of one block of queries: bounds the memory, and is large enough for a fast product.
_BLOCK_BYTES = 32 << 20


class KNNProbe(ValidatedProbe):
    """Weighted k-nearest-neighbour vote on embeddings, by cosine similarity.

    Every one of the k most similar training images votes for its class with
    `exp(similarity / temperature)`, as in Wu et al. (2018), "Unsupervised feature learning via
    non-parametric instance discrimination". The probability of a class is its share of the votes.

    Parameters
    ----------
    n_neighbors : int
        k, where `cv` is None. Of fewer training images all vote.
    temperature : float
        0.07 in that paper. The larger, the more equal the votes.
    ks : sequence of int, optional
        Numbers of neighbours to choose from where `cv` is given; those of `KNNGrid` if None.
    cv : int, splitter or iterable, optional
        Folds on which k is chosen, all candidates from one search. None takes `n_neighbors`.
    scoring : str or callable
        A scorer of scikit-learn, averaged over folds. Of equal scores the largest k wins.
    class_weight : dict, "balanced" or None
        Multiplies the votes of a class.

    Attributes
    ----------
    rows_ : [n, p]
        Training rows of unit length.
    codes_ : int [n], votes_ : float64 [n]
        Their classes and weights.
    classes_ : [n_classes]
    k_ : int
        The number of neighbours that is used.
    ks_ : [m], scores_ : [folds, m]
        Candidates, largest first, and their validation scores, if `cv` is given.
    """

    _least_classes = 1

    def __init__(
        self,
        n_neighbors: int = 20,
        *,
        temperature: float = DEFAULTS.temperature[0],
        ks: Sequence[int] | None = None,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        class_weight: Any = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.temperature = temperature
        self.ks = ks
        self.cv = cv
        self.scoring = scoring
        self.class_weight = class_weight

    def _learn(self, data: TrainingData, parts: list[tuple[Index, Index]]) -> None:
        self.k_ = int(_counts("n_neighbors", [self.n_neighbors])[0])
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, and {self.temperature!r} is not.")
        rows = unit_rows(data.X)
        if parts:
            ks = _counts("ks", DEFAULTS.n_neighbors if self.ks is None else self.ks)
            self.ks_ = np.sort(ks)[::-1]
            self.scores_ = np.stack(
                [self._validate(rows, data.codes, data.weight, part) for part in parts]
            )
            # argmax gives the first of equals, which has the most neighbours.
            self.k_ = int(self.ks_[np.argmax(self.scores_.mean(axis=0))])
        voting = data.weight > 0
        self.rows_, self.codes_ = rows[voting], data.codes[voting]
        self.votes_ = data.weight[voting]

    def predict_proba(self, X: ArrayLike) -> Array:
        """Give probabilities [n, n_classes] in the order of `classes_`."""
        check_is_fitted(self)
        return self.predict_proba_many(X, [self.k_])[0]

    def predict_proba_many(self, X: ArrayLike, ks: Sequence[int]) -> Array:
        """Give probabilities for every k in `ks`, from one search: float64 [m, n, n_classes]."""
        return vote(
            unit_rows(self._checked(X)),
            self.rows_,
            self.codes_,
            self.votes_,
            classes=len(self.classes_),
            ks=ks,
            temperature=self.temperature,
        )

    def _validate(
        self, rows: Array, codes: Index, weight: NDArray[np.float64], part: tuple[Index, Index]
    ) -> NDArray[np.float64]:
        """Scores of every k on one fold: [m]."""
        train, held_out = part
        train = train[weight[train] > 0]
        many = vote(
            rows[held_out],
            rows[train],
            codes[train],
            weight[train],
            classes=len(self.classes_),
            ks=self.ks_.tolist(),
            temperature=self.temperature,
        )
        scorer = get_scorer(self.scoring)
        truth = self.classes_[codes[held_out]]
        answers = [Answered(self.classes_, one) for one in many]
        return np.array([scorer(answer, rows[held_out], truth) for answer in answers])


def vote(
    queries: Array,
    rows: Array,
    codes: Index,
    votes: NDArray[np.float64],
    *,
    classes: int,
    ks: Sequence[int],
    temperature: float,
) -> NDArray[np.float64]:
    """Share the votes of the k nearest `rows`, for every k: [m, n, classes].

    Parameters
    ----------
    queries : float [n, p], rows : float [r, p]
        Of unit length.
    codes : int [r], votes : float64 [r]
        Classes of the rows, and what multiplies their votes.
    classes : int
    ks : sequence of int
    temperature : float
    """
    shares = np.empty((len(ks), len(queries), classes))
    most = min(max(ks), len(rows))
    last = np.minimum(ks, most) - 1
    for block in _blocks(len(queries), len(rows) * rows.itemsize):
        similar = queries[block] @ rows.T
        nearest = largest(similar, most)
        closeness = np.take_along_axis(similar, nearest, axis=1).astype(np.float64)
        # Relative to the nearest, so that no temperature overflows.
        weight = np.exp((closeness - closeness[:, :1]) / temperature) * votes[nearest]
        ballot = codes[nearest]
        for code in range(classes):
            # Neighbours are in order: a running sum holds the votes of every k.
            running = np.where(ballot == code, weight, 0).cumsum(axis=1)
            shares[:, block, code] = running[:, last].T
    return shares / shares.sum(axis=2, keepdims=True)


def unit_rows(X: Array) -> Array:
    """Scale rows to length one; a row of zeros stays, and is as similar to all as to nothing."""
    length = np.sqrt(np.einsum("np,np->n", X, X, dtype=np.float64))
    return X / np.where(length > 0, length, 1).astype(X.dtype)[:, None]


def largest(values: Array, count: int) -> Index:
    """Columns of the `count` largest of every row, largest first: [n, count]."""
    if count < values.shape[1]:
        found = np.argpartition(values, -count, axis=1)[:, -count:]
    else:
        found = np.broadcast_to(np.arange(count), values.shape)
    order = np.argsort(-np.take_along_axis(values, found, axis=1), axis=1, kind="stable")
    return np.take_along_axis(found, order, axis=1)


def _blocks(count: int, row_bytes: int) -> Iterator[slice]:
    size = max(1, _BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, count, size):
        yield slice(start, start + size)


def _counts(name: str, values: Sequence[int]) -> NDArray[np.intp]:
    counts = np.asarray(values)
    if counts.size == 0 or (counts != np.floor(counts)).any() or (counts < 1).any():
        raise ValueError(f"{name} must be whole numbers from 1, and {values!r} is not.")
    return counts.astype(np.intp)

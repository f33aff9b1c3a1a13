"""What training many heads together takes and gives, whatever their kind.

A `Trainer` scores every candidate on every part in as few passes over the embeddings as it can,
and then fits what was selected. Neither looks at anything but the rows it is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from frostline.probe.heads.scoring import score_heads
from frostline.probe.solver.bags import Bags

Index = NDArray[np.intp]
Candidate = Mapping[str, Any]
Scores = list[pd.DataFrame]
"""A table a part: `candidate` (position), `fold` (position in `held_out`), `epoch`, metrics."""
Answer = Callable[[Index], NDArray[np.floating]]
"""Probabilities [candidates, n, k] for rows of the pool."""


@dataclass(frozen=True)
class Part:
    """Rows to train on, and sets of rows to score on, each by itself."""

    train: Index
    held_out: tuple[Index, ...]


@dataclass(frozen=True)
class Fit:
    """A selected head that is to be fitted.

    Attributes
    ----------
    rows : int [m]
        Rows to train on.
    candidate : mapping
    epoch : int
        The epoch after which validation was best, from 1; 0 for heads without epochs.
    """

    rows: Index
    candidate: Candidate
    epoch: int


@dataclass(frozen=True)
class Pool:
    """Embeddings that parts choose rows from.

    Attributes
    ----------
    X : float32 [n, p]
        Of heads that take bags, `Bags` of that type, a row of the pool being a bag.
    codes : int [n]
        Positions in `classes`; -1 where there is no label.
    classes : list of str
    reference : int [m]
        Rows whose features (never their labels) give the standardisation: all that any part may
        train or select on. So one matrix, decomposed once, serves all of them.
    groups : int [n], optional
        Number of each row's group where held-out rows are scored by group, as slices of patients
        are; -1 for rows that none holds out.
    views : int [m, views], optional
        For the first m rows, which are of images as they are, the rows of their augmented views; -1
        where there is none. The rows behind these are views.
    """

    X: Any
    codes: Index
    classes: list[str]
    reference: Index
    groups: Index | None = None
    views: Index | None = None

    @cached_property
    def standard(self) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Mean and deviation of every feature over `reference`: [p], [p]."""
        # Here, and not above: it takes scikit-learn, which finished work should not.
        from frostline.probe.heads.preparation import standardise

        known = self.X if len(self.reference) == len(self.X) else self.X[self.reference]
        if isinstance(known, Bags):
            known = known.values
        return standardise(known, np.ones(len(known)))

    def score(
        self, probabilities: NDArray[np.floating], rows: Index
    ) -> dict[str, NDArray[np.float64]]:
        """Score what heads answer for held-out rows, [h, m, k], as test is scored: [h] each."""
        groups = None if self.groups is None else self.groups[rows]
        return score_heads(probabilities, self.codes[rows], groups)

    def seen(self, rows: Index) -> Index:
        """Give what trains on rows: these, then view 1 of each that has views, and so on."""
        if self.views is None:
            return rows
        views = self.views[rows].T.ravel()
        return np.concatenate([rows, views[views >= 0]])

    def names(self, rows: Index) -> NDArray[np.str_]:
        """Give the labels of rows: text [m]."""
        return np.array(self.classes)[self.codes[rows]]

    def weight(self, rows: Index, class_weight: str | None) -> NDArray[np.float64]:
        """Weigh every row of the pool: float64 [n], zero but for `rows`."""
        from sklearn.utils import compute_class_weight

        weight = np.zeros(len(self.X))
        weight[rows] = 1
        if class_weight is not None:
            present, codes = np.unique(self.codes[rows], return_inverse=True)
            factor = compute_class_weight(class_weight, classes=present, y=self.codes[rows])
            weight[rows] = factor[codes]
        return weight


@dataclass(frozen=True)
class Trainer:
    """How one kind of head is trained, many at a time.

    Attributes
    ----------
    score : callable
        `(pool, parts, candidates, shared, seed) -> Scores`.
    fit : callable
        `(pool, fits, shared, seed) -> list` of fitted estimators, one a fit.
    train : callable, optional
        `(pool, part, candidates, shared, seed) -> (table, list)`: score the candidates on one part,
        and give each as it was after the epoch with the best mean accuracy.
    """

    score: Callable[[Pool, Sequence[Part], Sequence[Candidate], Candidate, int], Scores]
    fit: Callable[[Pool, Sequence[Fit], Candidate, int], list[Any]]
    train: (
        Callable[[Pool, Part, Sequence[Candidate], Candidate, int], tuple[pd.DataFrame, list[Any]]]
        | None
    ) = None


def score_by(answers: Callable[..., Iterator[Answer]]) -> Callable[..., Scores]:
    """Give the `score` of a trainer that trains the candidates part by part.

    `answers(pool, parts, candidates, shared, seed)` yields what the candidates answer, once they
    have learnt a part.
    """

    def score(pool: Pool, parts: Sequence[Part], *asked: Any) -> Scores:
        found = answers(pool, parts, *asked)
        return [_score_part(pool, part, answer) for part, answer in zip(parts, found, strict=True)]

    return score


def _score_part(pool: Pool, part: Part, answer: Answer) -> pd.DataFrame:
    """Score every held-out set of a part."""
    tables = []
    for fold, rows in enumerate(part.held_out):
        probabilities = answer(rows)
        places = {"candidate": np.arange(len(probabilities)), "fold": fold, "epoch": 0}
        tables.append(pd.DataFrame({**places, **pool.score(probabilities, rows)}))
    return pd.concat(tables, ignore_index=True)


def pairs(folds: int) -> list[tuple[int, int]]:
    """List the pairs of folds.

    What trains without a and b selects for a by its scores on b, and for b by those on a.
    """
    return list(itertools.combinations(range(folds), 2))

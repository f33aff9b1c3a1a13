"""How each kind of head takes part in a sweep: all candidates and parts together.

A family scores every candidate on every part in as few passes over the embeddings as it can, and
then fits what was selected. Neither looks at anything but the rows it is given.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.utils import compute_class_weight

from frostline.probe.heads.adam import AdamProbe
from frostline.probe.heads.knn import KNNProbe, unit_rows, vote
from frostline.probe.heads.logistic import LogisticProbe
from frostline.probe.heads.preparation import standardise
from frostline.probe.heads.scoring import score_heads, softmax
from frostline.probe.heads.simple import CentroidProbe, MajorityProbe
from frostline.probe.heads.stacked import Batches, Recipe, train_heads
from frostline.probe.solver.solve import Heads, on_embeddings, solve_logistic

Index = NDArray[np.intp]
Candidate = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """Rows to train on, and sets of rows to score on, each by itself."""

    train: Index
    held_out: tuple[Index, ...]


@dataclass(frozen=True)
class Fit:
    """A selected head that is to be fitted: on which rows, and for heads that count them, epochs.

    `epoch` is the epoch after which validation was best, from 1; 0 for heads without epochs.
    """

    rows: Index
    candidate: Candidate
    epoch: int


@dataclass(frozen=True)
class Pool:
    """Embeddings that the parts of a sweep choose rows from.

    Attributes
    ----------
    X : float32 [n, p]
    codes : int [n]
        Positions in `classes`; -1 where there is no label.
    classes : list of str
    reference : int [m]
        Rows whose features (never their labels) give the standardisation: all that any part may
        train or select on.
    """

    X: NDArray[np.float32]
    codes: Index
    classes: list[str]
    reference: Index

    def names(self, rows: Index) -> NDArray[np.str_]:
        """Labels of rows."""
        return np.array(self.classes)[self.codes[rows]]

    def weight(self, rows: Index, class_weight: str | None) -> NDArray[np.float64]:
        """Weight of every row of the pool [n]: zero but for `rows`."""
        weight = np.zeros(len(self.X))
        weight[rows] = 1
        if class_weight is not None:
            present, codes = np.unique(self.codes[rows], return_inverse=True)
            factor = compute_class_weight(class_weight, classes=present, y=self.codes[rows])
            weight[rows] = factor[codes]
        return weight


Scores = list[pd.DataFrame]
"""A table a part: `candidate` (position), `fold` (position in `held_out`), `epoch`, metrics."""


@dataclass(frozen=True)
class Family:
    """A kind of head.

    Attributes
    ----------
    score : callable
        ``(pool, parts, candidates, same, seed) -> Scores``.
    fit : callable
        ``(pool, fits, same, seed) -> list`` of fitted estimators, one a fit.
    seeded : bool
        Whether a seed changes it.
    refits : bool
        Whether the selected head is fitted to validation images, too.
    """

    score: Callable[[Pool, Sequence[Part], Sequence[Candidate], Candidate, int], Scores]
    fit: Callable[[Pool, Sequence[Fit], Candidate, int], list[Any]]
    seeded: bool = False
    refits: bool = True


def _logistic_scores(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], same: Candidate, seed: int
) -> Scores:
    standard = _standard(pool)
    weight = np.stack([pool.weight(part.train, same["class_weight"]) for part in parts])
    strengths = np.array([candidate["C"] for candidate in candidates])
    row = np.repeat(np.arange(len(parts)), len(strengths))
    heads = _solve(pool, standard, np.tile(strengths, len(parts)), weight, row, same)
    tables = []
    for number, part in enumerate(parts):
        mine = slice(number * len(strengths), (number + 1) * len(strengths))
        coef, intercept = on_embeddings(heads.coef[mine], heads.intercept[mine], standard)

        def answer(rows: Index, coef: Any = coef, intercept: Any = intercept) -> Any:
            return _linear(pool.X[rows], coef, intercept)

        tables.append(_table(pool, part, answer))
    return tables


def _logistic_fit(pool: Pool, fits: Sequence[Fit], same: Candidate, seed: int) -> list[Any]:
    standard = _standard(pool)
    weight = np.stack([pool.weight(fit.rows, same["class_weight"]) for fit in fits])
    strengths = np.array([fit.candidate["C"] for fit in fits])
    heads = _solve(pool, standard, strengths, weight, np.arange(len(fits)), same)
    found = []
    for number, fit in enumerate(fits):
        head = LogisticProbe(**fit.candidate, **same)
        head.classes_, head.n_features_in_ = np.array(pool.classes), pool.X.shape[1]
        head.C_, head.n_iter_ = float(fit.candidate["C"]), heads.n_iter[number : number + 1]
        head.coef_, head.intercept_ = on_embeddings(
            heads.coef[number], heads.intercept[number], standard
        )
        found.append(head)
    return found


def _standard(pool: Pool) -> tuple[Any, Any]:
    known = pool.X if len(pool.reference) == len(pool.X) else pool.X[pool.reference]
    return standardise(known, np.ones(len(known)))


def _solve(
    pool: Pool, standard: tuple[Any, Any], strengths: Any, weight: Any, row: Any, same: Candidate
) -> Heads:
    # Rows that no part trains on would only make every product longer.
    used = weight.any(axis=0)
    rows = slice(None) if used.all() else np.flatnonzero(used)
    return solve_logistic(
        pool.X[rows],
        pool.codes[rows],
        C=strengths,
        n_classes=len(pool.classes),
        sample_weight=weight[:, rows],
        weight_row=row,
        standard=standard,
        tol=same["tol"],
        max_iter=same["max_iter"],
    )


def _linear(rows: Any, coef: Any, intercept: Any) -> Any:
    """Probabilities [h, n, k] of heads [h, columns, p], from one matrix product."""
    heads, columns, _ = coef.shape
    flat = rows @ coef.reshape(heads * columns, -1).T + intercept.reshape(-1)
    logits = flat.reshape(len(rows), heads, columns).transpose(1, 0, 2)
    if columns == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    return softmax(logits)


def _adam_scores(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], same: Candidate, seed: int
) -> Scores:
    recipes = [Recipe(**candidate) for candidate in candidates]
    tables = []
    for part in parts:
        rows = np.concatenate(part.held_out)
        ends = np.cumsum([len(one) for one in part.held_out])[:-1]
        found: list[pd.DataFrame] = []

        def watch(
            epoch: int,
            logits: torch.Tensor,
            rows: Index = rows,
            ends: Any = ends,
            found: list[pd.DataFrame] = found,
        ) -> NDArray[np.bool_]:
            probabilities = softmax(logits.numpy())
            for fold, (mine, own) in enumerate(
                zip(np.split(rows, ends), np.split(probabilities, ends, axis=1), strict=True)
            ):
                scores = score_heads(own, pool.codes[mine])
                places = {"candidate": np.arange(len(own)), "fold": fold, "epoch": epoch}
                found.append(pd.DataFrame({**places, **scores}))
            return np.zeros(len(logits), bool)

        train_heads(
            _batches(pool, part.train, same),
            len(pool.classes),
            recipes,
            epochs=same["epochs"],
            seed=seed,
            watch=watch,
            validation=torch.from_numpy(pool.X[rows]),
        )
        tables.append(pd.concat(found, ignore_index=True))
    return tables


def _adam_fit(pool: Pool, fits: Sequence[Fit], same: Candidate, seed: int) -> list[Any]:
    found = []
    for fit in fits:
        head = AdamProbe(**fit.candidate, **same, random_state=seed)
        layers = train_heads(
            _batches(pool, fit.rows, same),
            len(pool.classes),
            [Recipe(**fit.candidate)],
            epochs=fit.epoch,
            seed=seed,
        )[0]
        head.classes_, head.n_features_in_ = np.array(pool.classes), pool.X.shape[1]
        head.best_epoch_ = fit.epoch
        head.coefs_, head.intercepts_ = layers[::2], layers[1::2]
        found.append(head)
    return found


def _batches(pool: Pool, rows: Index, same: Candidate) -> Batches:
    weight = pool.weight(rows, same["class_weight"])[rows].astype(np.float32)
    return Batches(
        torch.from_numpy(pool.X[rows]),
        torch.from_numpy(pool.codes[rows].astype(np.int64)),
        torch.from_numpy(weight),
        same["batch_size"],
    )


def _knn_scores(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], same: Candidate, seed: int
) -> Scores:
    unit = unit_rows(pool.X)
    tables = []
    for part in parts:
        votes = pool.weight(part.train, same["class_weight"])[part.train]

        def answer(rows: Index, train: Index = part.train, votes: Any = votes) -> Any:
            found = np.empty((len(candidates), len(rows), len(pool.classes)))
            for temperature in {candidate["temperature"] for candidate in candidates}:
                mine = [i for i, one in enumerate(candidates) if one["temperature"] == temperature]
                found[mine] = vote(
                    unit[rows],
                    unit[train],
                    pool.codes[train],
                    votes,
                    classes=len(pool.classes),
                    ks=[candidates[i]["n_neighbors"] for i in mine],
                    temperature=temperature,
                )
            return found

        tables.append(_table(pool, part, answer))
    return tables


def _plain_scores(make: Callable[..., Any]) -> Callable[..., Scores]:
    """Scores of heads that are fitted one by one, at next to no cost."""

    def score(
        pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], same: Candidate, _: int
    ) -> Scores:
        tables = []
        for part in parts:
            heads = _plain_fit(make)(pool, [Fit(part.train, c, 0) for c in candidates], same, 0)

            def answer(rows: Index, heads: list[Any] = heads) -> Any:
                return np.stack([head.predict_proba(pool.X[rows]) for head in heads])

            tables.append(_table(pool, part, answer))
        return tables

    return score


def _plain_fit(make: Callable[..., Any]) -> Callable[..., list[Any]]:
    def fit(pool: Pool, fits: Sequence[Fit], same: Candidate, seed: int) -> list[Any]:
        return [
            make(**one.candidate, **same).fit(pool.X[one.rows], pool.names(one.rows))
            for one in fits
        ]

    return fit


def _table(pool: Pool, part: Part, answer: Callable[[Index], Any]) -> pd.DataFrame:
    """Scores on every held-out set of a part, given what answers for rows: [candidates, n, k]."""
    tables = []
    for fold, rows in enumerate(part.held_out):
        probabilities = answer(rows)
        places = {"candidate": np.arange(len(probabilities)), "fold": fold, "epoch": 0}
        tables.append(pd.DataFrame({**places, **score_heads(probabilities, pool.codes[rows])}))
    return pd.concat(tables, ignore_index=True)


FAMILIES: dict[str, Family] = {
    "logistic": Family(_logistic_scores, _logistic_fit),
    "adam": Family(_adam_scores, _adam_fit, seeded=True, refits=False),
    "knn": Family(_knn_scores, _plain_fit(KNNProbe)),
    "centroid": Family(_plain_scores(CentroidProbe), _plain_fit(CentroidProbe)),
    "majority": Family(_plain_scores(MajorityProbe), _plain_fit(MajorityProbe)),
}


def pairs(folds: int) -> list[tuple[int, int]]:
    """Pairs of folds. What trains without a and b selects for a on b, and for b on a."""
    return list(itertools.combinations(range(folds), 2))

"""Heads that are fitted one by one: those that cost next to nothing, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from frostline.probe.heads.simple import CentroidProbe, MajorityProbe
from frostline.probe.heads.training import Answer, Candidate, Fit, Part, Pool, Trainer, score_by

FitAll = Callable[[Pool, Sequence[Fit], Candidate, int], list[Any]]


def fit_each(make: Callable[..., Any]) -> FitAll:
    """Give a function that makes an estimator for each fit and fits it to the labels' names."""

    def fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
        return [
            make(**one.candidate, **shared).fit(pool.X[one.rows], pool.names(one.rows))
            for one in fits
        ]

    return fit


def one_by_one(fit: FitAll, answer: str = "predict_proba") -> Trainer:
    """Give the trainer of heads that `fit` fits, and whose method `answer` gives probabilities."""

    def answers(
        pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], *how: Any
    ) -> Iterator[Answer]:
        for part in parts:
            heads = fit(pool, [Fit(part.train, candidate, 0) for candidate in candidates], *how)
            methods = [getattr(head, answer) for head in heads]
            yield partial(_stacked, methods, pool.X)

    return Trainer(score_by(answers), fit)


def _stacked(methods: Sequence[Callable[..., Any]], X: Any, rows: Any) -> Any:
    """Probabilities [candidates, n, k] of several heads for rows of X."""
    return np.stack([one(X[rows]) for one in methods])


CENTROID = one_by_one(fit_each(CentroidProbe))
MAJORITY = one_by_one(fit_each(MajorityProbe))

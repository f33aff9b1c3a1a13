"""Heads that are fitted one by one: those that cost next to nothing, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from frostline.probe.heads.simple import CentroidProbe, MajorityProbe
from frostline.probe.heads.training import (
    Candidate,
    Fit,
    Index,
    Part,
    Pool,
    Scores,
    Trainer,
    score_part,
)

Make = Callable[..., Any]


def fit_each(make: Make) -> Callable[[Pool, Sequence[Fit], Candidate, int], list[Any]]:
    """Give a function that makes an estimator for each fit and fits it to the labels' names."""

    def fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
        return [
            make(**one.candidate, **shared).fit(pool.X[one.rows], pool.names(one.rows))
            for one in fits
        ]

    return fit


def one_by_one(make: Make) -> Trainer:
    """Give the trainer of heads that `make(**hyperparameters)` makes."""
    fit = fit_each(make)

    def score(
        pool: Pool,
        parts: Sequence[Part],
        candidates: Sequence[Candidate],
        shared: Candidate,
        seed: int,
    ) -> Scores:
        tables = []
        for part in parts:
            fits = [Fit(part.train, candidate, 0) for candidate in candidates]
            heads = fit(pool, fits, shared, seed)

            def answer(rows: Index, heads: list[Any] = heads) -> Any:
                return np.stack([head.predict_proba(pool.X[rows]) for head in heads])

            tables.append(score_part(pool, part, answer))
        return tables

    return Trainer(score, fit)


CENTROID = one_by_one(CentroidProbe)
MAJORITY = one_by_one(MajorityProbe)

"""Logistic heads, many at a time: all strengths and parts are solved together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from frostline.probe.heads.logistic import LogisticProbe
from frostline.probe.heads.preparation import standardise
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
from frostline.probe.solver.solve import Heads, on_embeddings, solve_logistic


def _score(
    pool: Pool, parts: Sequence[Part], candidates: Sequence[Candidate], shared: Candidate, seed: int
) -> Scores:
    standard = _standard(pool)
    weight = np.stack([pool.weight(part.train, shared["class_weight"]) for part in parts])
    strengths = np.array([candidate["C"] for candidate in candidates])
    row = np.repeat(np.arange(len(parts)), len(strengths))
    # Held-out rows weigh nothing, but are there: the numbers are those of `LogisticProbe` with cv.
    rows = np.unique(np.concatenate([r for part in parts for r in (part.train, *part.held_out)]))
    problem = _Problem(rows, np.tile(strengths, len(parts)), weight, row)
    heads = _solve(pool, standard, problem, shared)
    tables = []
    for number, part in enumerate(parts):
        mine = slice(number * len(strengths), (number + 1) * len(strengths))
        coef, intercept = on_embeddings(heads.coef[mine], heads.intercept[mine], standard)

        def answer(rows: Index, coef: Any = coef, intercept: Any = intercept) -> Any:
            return _probabilities(pool.X[rows], coef, intercept)

        tables.append(score_part(pool, part, answer))
    return tables


def _fit(pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
    standard = _standard(pool)
    weight = np.stack([pool.weight(fit.rows, shared["class_weight"]) for fit in fits])
    strengths = np.array([fit.candidate["C"] for fit in fits])
    rows = np.unique(np.concatenate([fit.rows for fit in fits]))
    problem = _Problem(rows, strengths, weight, np.arange(len(fits)))
    heads = _solve(pool, standard, problem, shared)
    found = []
    for number, fit in enumerate(fits):
        head = LogisticProbe(**fit.candidate, **shared)
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


@dataclass(frozen=True)
class _Problem:
    """Heads to solve together: on which rows, how strongly, each by which row of weights."""

    rows: Index
    strengths: NDArray[np.float64]
    weight: NDArray[np.float64]
    weight_row: Index


def _solve(pool: Pool, standard: tuple[Any, Any], problem: _Problem, shared: Candidate) -> Heads:
    # Rows that no part needs would only make every product longer.
    rows = slice(None) if len(problem.rows) == len(pool.X) else problem.rows
    return solve_logistic(
        pool.X[rows],
        pool.codes[rows],
        C=problem.strengths,
        n_classes=len(pool.classes),
        sample_weight=problem.weight[:, rows],
        weight_row=problem.weight_row,
        standard=standard,
        tol=shared["tol"],
        max_iter=shared["max_iter"],
    )


def _probabilities(rows: Any, coef: Any, intercept: Any) -> Any:
    """Probabilities [h, n, k] of heads [h, columns, p], from one matrix product."""
    heads, columns, _ = coef.shape
    flat = rows @ coef.reshape(heads * columns, -1).T + intercept.reshape(-1)
    logits = flat.reshape(len(rows), heads, columns).transpose(1, 0, 2)
    if columns == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
    return softmax(logits, axis=-1)


LOGISTIC = Trainer(_score, _fit)

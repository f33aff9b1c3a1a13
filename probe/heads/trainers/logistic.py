"""Logistic heads, many at a time: all strengths and parts are solved together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from frostline.probe.heads.logistic import LogisticProbe, logits_of
from frostline.probe.heads.training import Answer, Candidate, Fit, Part, Pool, Trainer, score_by
from frostline.probe.solver.solve import Heads, on_embeddings, solve_logistic

Index = NDArray[np.intp]


class StrengthTrainer:
    """Trains heads of a strength: how in logistic heads, and what others replace."""

    def answers(
        self,
        pool: Pool,
        parts: Sequence[Part],
        candidates: Sequence[Candidate],
        shared: Candidate,
        seed: int,
    ) -> Iterator[Answer]:
        """Yield what all candidates answer, part by part; all of them are solved together."""
        standard = pool.standard
        weight = np.stack([pool.weight(part.train, shared["class_weight"]) for part in parts])
        strengths = np.array([candidate["C"] for candidate in candidates])
        row = np.repeat(np.arange(len(parts)), len(strengths))
        # One part keeps its held-out rows, with no weight: it is solved as `LogisticProbe` does it.
        # Among many parts, rows that none trains on would only make every product longer.
        alone = len(parts) == 1
        rows = [rows for part in parts for rows in (part.train, *(part.held_out if alone else ()))]
        problem = _Problem(_union(rows), np.tile(strengths, len(parts)), weight, row)
        heads = self._solve(pool, problem, shared)
        for number in range(len(parts)):
            mine = slice(number * len(strengths), (number + 1) * len(strengths))
            found = on_embeddings(heads.coef[mine], heads.intercept[mine], standard)

            yield partial(self.probabilities, pool, *found, shared)

    def fit(self, pool: Pool, fits: Sequence[Fit], shared: Candidate, seed: int) -> list[Any]:
        """Fit one after the other.

        Solved together, each would end in other last digits by what the others are, and a sweep
        that was interrupted, or a probe, would not give what the sweep gives.
        """
        return [self._fit_one(pool, fit, shared) for fit in fits]

    def codes(self, pool: Pool, shared: Candidate) -> Index:
        """Number the classes of the rows as the solver does: int [n]."""
        return pool.codes

    def solve(self, *data: Any, **options: Any) -> Heads:
        """Fit all heads."""
        return solve_logistic(*data, **options)

    def probabilities(
        self, pool: Pool, coef: Any, intercept: Any, shared: Candidate, rows: Index
    ) -> Any:
        """Give probabilities [h, n, k] of heads [h, columns, p] for rows of the pool."""
        logits = logits_of(pool.X[rows], coef, intercept)
        if coef.shape[1] == 1:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=2)
        return softmax(logits, axis=-1)

    def head(self, pool: Pool, coef: Any, intercept: Any, how: Candidate) -> Any:
        """Make a fitted estimator of coefficients [columns, p] and intercepts."""
        head = LogisticProbe(**how)
        head.coef_, head.intercept_ = coef, intercept
        return head

    def _fit_one(self, pool: Pool, fit: Fit, shared: Candidate) -> Any:
        weight = pool.weight(fit.rows, shared["class_weight"])[None]
        strength = np.array([fit.candidate["C"]])
        problem = _Problem(_union([fit.rows]), strength, weight, np.arange(1))
        heads = self._solve(pool, problem, shared)
        found = on_embeddings(heads.coef[0], heads.intercept[0], pool.standard)
        head = self.head(pool, *found, {**fit.candidate, **shared})
        head.classes_, head.n_features_in_ = np.array(pool.classes), pool.X.shape[1]
        head.C_, head.n_iter_, head.device_ = float(strength[0]), heads.n_iter, heads.device
        return head

    def _solve(self, pool: Pool, problem: _Problem, shared: Candidate) -> Heads:
        rows = slice(None) if len(problem.rows) == len(pool.X) else problem.rows
        return self.solve(
            pool.X[rows],
            self.codes(pool, shared)[rows],
            C=problem.strengths,
            n_classes=len(pool.classes),
            sample_weight=problem.weight[:, rows],
            weight_row=problem.weight_row,
            standard=pool.standard,
            tol=shared["tol"],
            max_iter=shared["max_iter"],
        )


def _union(rows: Sequence[Index]) -> Index:
    return np.unique(np.concatenate(rows))


@dataclass(frozen=True)
class _Problem:
    """Heads to solve together: on which rows, how strongly, each by which row of weights."""

    rows: Index
    strengths: NDArray[np.float64]
    weight: NDArray[np.float64]
    weight_row: Index


def strength_trainer(how: StrengthTrainer) -> Trainer:
    """Give the trainer of such heads."""
    return Trainer(score_by(how.answers), how.fit)


LOGISTIC = strength_trainer(StrengthTrainer())

"""Probes with an L2 penalty whose strength may be chosen on folds, all of them solved together."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from frostline.probe.heads.grids import LARGEST_C, NO_LARGER, LogisticGrid
from frostline.probe.heads.preparation import Index, TrainingData, ValidatedProbe, standardise
from frostline.probe.solver.solve import Heads, on_embeddings

Array = NDArray[np.floating]

DEFAULTS = LogisticGrid()


class Fold(NamedTuple):
    """Held-out embeddings, their class codes and the user's weights."""

    X: Array
    codes: Index
    weight: NDArray[np.float64]


class StrengthProbe(ValidatedProbe):
    """A probe of parameters `C`, `Cs` and `scoring`, as `LogisticProbe` has them."""

    C: float
    Cs: ArrayLike | None
    scoring: Any

    def _learn(self, data: TrainingData, parts: list[tuple[Index, Index]]) -> None:
        standard = standardise(data.X, data.sample_weight)
        self.C_ = float(_positive("C", self.C)[0])
        if parts:
            self.Cs_ = np.sort(_positive("Cs", DEFAULTS.C if self.Cs is None else self.Cs))
            self.scores_ = self._validate(data, standard, parts)
            # argmax gives the first of equals, which has the smallest C: the strongest penalty.
            self.C_ = float(self.Cs_[np.argmax(self.scores_.mean(axis=0))])
        heads = self._solve(standard, data, [self.C_], data.weight)
        self._keep(*on_embeddings(heads.coef[0], heads.intercept[0], standard))
        self.n_iter_, self.device_ = heads.n_iter, heads.device

    def _validate(
        self,
        data: TrainingData,
        standard: tuple[Array, Array],
        parts: list[tuple[Index, Index]],
    ) -> NDArray[np.float64]:
        """Scores of every fold and strength: [folds, m]."""
        weight = np.zeros((len(parts), len(data.X)))
        for number, (train, _) in enumerate(parts):
            weight[number, train] = data.weight[train]
        row = np.repeat(np.arange(len(parts)), len(self.Cs_))
        heads = self._solve(standard, data, np.tile(self.Cs_, len(parts)), weight, row)
        scores = np.empty(len(row))
        for number, (_, held_out) in enumerate(parts):
            mine = np.flatnonzero(row == number)
            coef, intercept = on_embeddings(heads.coef[mine], heads.intercept[mine], standard)
            own = data.sample_weight[held_out]
            fold = Fold(data.X[held_out], data.codes[held_out], own)
            scores[mine] = self._score(coef, intercept, fold)
        return scores.reshape(len(parts), -1)

    @abstractmethod
    def _solve(
        self,
        standard: tuple[Array, Array],
        data: TrainingData,
        Cs: ArrayLike,
        weight: Array,
        row: ArrayLike | None = None,
    ) -> Heads:
        """Fit a head for each of `Cs`, on standardised features."""

    @abstractmethod
    def _keep(self, coef: Array, intercept: Array) -> None:
        """Take over the coefficients [k, p] and intercepts of the fitted head."""

    @abstractmethod
    def _score(self, coef: Array, intercept: Array, fold: Fold) -> Sequence[float]:
        """Score heads [h, k, p] on a fold."""


def _positive(name: str, value: ArrayLike) -> NDArray[np.float64]:
    values = np.atleast_1d(np.asarray(value, dtype=np.float64))
    if values.size == 0 or not (np.isfinite(values) & (values > 0)).all():
        raise ValueError(f"{name} must be positive and finite, and {value!r} is not.")
    if values.max() > LARGEST_C:
        raise ValueError(f"{name} must be {NO_LARGER}, not {values.max():g}.")
    return values

"""The choice of a threshold on some rows, its score on others, and the choice repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from frostline.report.clinical.held import point_values
from frostline.report.clinical.thresholds import Candidates, Rule
from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.own_metrics import number_units
from frostline.report.statistics.resampling.units import BLOCK_WEIGHTS, block_sizes, draw_units
from frostline.report.statistics.sample import Sample


@dataclass(frozen=True)
class Rows:
    """Rows of two classes in the order of their names, so that draws do not depend on a file's.

    Attributes
    ----------
    positive : bool [n]
    score : float64 [n]
        The probability of the positive class.
    member : int64 [n]
        The unit of each row.
    units : int
    fold : int64 [n]
        The number of its fold in a cross-validation, from 0; 0 without one.
    order : int64 [n]
        The places of these rows in the sample.
    """

    positive: npt.NDArray[np.bool_]
    score: Array
    member: Codes
    units: int
    fold: Codes
    order: Codes

    @cached_property
    def candidates(self) -> list[tuple[npt.NDArray[np.bool_], Candidates]]:
        """Which rows each threshold is chosen on, and the thresholds that they allow: a fold each.

        Without folds all rows, else those of the other folds.
        """
        folds = range(int(self.fold.max()) + 1)
        places = [self.fold != one for one in folds] if len(folds) > 1 else [self.fold == 0]
        return [(rows, Candidates(self.positive[rows], self.score[rows])) for rows in places]

    def choose(self, rule: Rule, weights: Array, prevalence: float | None = None) -> Array:
        """Choose thresholds for weights [R, n] of the rows: one for each fold, [F, R]."""
        return np.stack(
            [one.choose(rule, weights[:, rows], prevalence) for rows, one in self.candidates]
        )

    def draw(self, replicates: int, seed: int) -> Iterator[Array]:
        """Draw units again, in blocks: how often each row comes up, [R, n]."""
        rng, none = np.random.default_rng(seed), np.zeros(self.units, dtype=np.int64)
        for size in block_sizes(replicates, BLOCK_WEIGHTS // max(len(self.score), 1)):
            counts = draw_units(none, size, rng, stratified=False)
            yield counts.T[:, self.member].astype(np.float64)


def rows_of(sample: Sample, folds: Codes | None = None) -> Rows:
    """Take the rows of a sample of two classes, the positive one last."""
    assert sample.probs is not None
    n = len(sample.truth)
    if sample.ids is None:
        order = np.lexsort((sample.probs[:, 1], sample.truth))
    else:
        order = np.argsort(sample.ids.astype(str))
    groups = None if sample.groups is None else sample.groups[order]
    fold = np.zeros(n, dtype=np.int64)
    if folds is not None:
        fold = np.unique(folds[order], return_inverse=True)[1]
    positive = sample.truth[order] == 1
    return Rows(positive, sample.probs[order, 1], *number_units(groups, n), fold, order)


def confusions_at(rows: Rows, thresholds: Array, weights: Array | None = None) -> Array:
    """Count truth by call at thresholds [F, R] of the folds: [R, 2, 2], the positive class last.

    Parameters
    ----------
    weights : float64 [R, n], optional
        Of the rows, for each column of thresholds; all 1 if not given.
    """
    out = np.zeros((thresholds.shape[1], 2, 2))
    for fold, at in enumerate(thresholds):
        here = rows.fold == fold
        for truth in (0, 1):
            places = np.flatnonzero(here & (rows.positive == bool(truth)))
            if weights is None:
                score = np.sort(rows.score[places])
                called = len(score) - np.searchsorted(score, at, "left")
                whole = np.full(len(at), len(score))
            else:
                called = (weights[:, places] * (rows.score[places] >= at[:, None])).sum(1)
                whole = weights[:, places].sum(1)
            out[:, truth, 1] += called
            out[:, truth, 0] += whole - called
    out[np.isnan(thresholds).any(0)] = np.nan
    return out


@dataclass(frozen=True)
class Choice:
    """A threshold, chosen on some rows and scored on others.

    Attributes
    ----------
    rule : Rule
    prevalence : float or None
        Of rule "cost".
    choosing : Rows or None
        None where the threshold is fixed.
    scored : Rows
        Those of `choosing` themselves in a cross-validation.
    """

    rule: Rule
    prevalence: float | None
    choosing: Rows | None
    scored: Rows

    @property
    def is_cv(self) -> bool:
        """Whether each fold has a threshold of its own, chosen on the others."""
        return self.choosing is self.scored

    @cached_property
    def thresholds(self) -> Array:
        """The threshold of each fold, or the only one: [F]; NaN where none can be chosen."""
        if self.choosing is None:
            return np.array([self.rule.value])
        whole = np.ones((1, len(self.choosing.score)))
        return self.choosing.choose(self.rule, whole, self.prevalence)[:, 0]

    def calls(self) -> Codes:
        """Call each scored row, in the sample's order: int64 [n], 1 where positive."""
        rows, out = self.scored, np.zeros(len(self.scored.score), dtype=np.int64)
        out[rows.order] = rows.score >= self.thresholds[rows.fold]
        return out

    def repeated(self, replicates: int, seed: int) -> dict[str, Array]:
        """Score the thresholds that are chosen on units drawn again: of each number, [R].

        They are scored on the rows that are scored, as they are. In a cross-validation these are
        the rows that were drawn, and count as often.
        """
        assert self.choosing is not None
        joint = self.is_cv
        parts = [
            confusions_at(
                self.scored,
                self.choosing.choose(self.rule, weights, self.prevalence),
                weights if joint else None,
            )
            for weights in self.choosing.draw(replicates, seed)
        ]
        # What is infinite is as little known as what is undefined.
        values = point_values(np.concatenate(parts)).items()
        return {name: np.where(np.isfinite(value), value, np.nan) for name, value in values}

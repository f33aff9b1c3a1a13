"""Resampling units of rows, and replicates of any metric over them.

Metrics of a confusion matrix are replicated by kinds (`bootstrap.py`); metrics of probabilities by
weighting the sorted rows (`scores.py`). Both draw whole units, and neither depends on the order of
rows: units are put into an order of their own contents first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array, Codes
from frostline.report.statistics.resampling.leaving_out import (
    leave_out_average_precision,
    leave_out_slope,
)
from frostline.report.statistics.scores import (
    ROC_METRICS,
    Scores,
    compute_scores,
    leave_out_auc,
)

# Weights held at once: a block that stays in the processor's cache.
BLOCK_WEIGHTS = 100_000


@dataclass(frozen=True)
class Units:
    """Rows in an order of their own contents, and the unit that each belongs to.

    Attributes
    ----------
    scores : Scores
        Truth and probabilities of the rows.
    member : int64 [n]
        The unit of each row.
    stratum : int64 [G]
        The class of each unit; units of several classes are a stratum of their own.
    """

    scores: Scores
    member: Codes
    stratum: Codes

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.stratum)

    @property
    def class_images(self) -> npt.NDArray[np.int64]:
        """Count the images of each class in each unit: [G, K]."""
        return count_classes(self.member, self.scores.truth, self.n_units)

    def weights(self, counts: npt.NDArray[np.number]) -> Array:
        """Weigh rows [n, R] by how often each unit was drawn [G, R]."""
        if len(self.member) == self.n_units:
            return np.asarray(counts, dtype=np.float64)
        return counts[self.member].astype(np.float64)


def make_units(truth: Codes, probs: Array, groups: Codes | None) -> Units:
    """Sort rows and units by their contents; without groups every row is a unit."""
    order = np.lexsort((*probs.T[::-1], truth))
    truth, probs = truth[order], np.ascontiguousarray(probs[order])
    if groups is None:
        return Units(Scores(truth, probs), np.arange(len(truth)), truth)
    # Rows of equal contents have equal rank, so that a unit's ranks do not depend on row order.
    rows = np.column_stack([truth, probs])
    rank = np.cumsum(np.r_[False, (rows[1:] != rows[:-1]).any(1)])
    contents: dict[int, list[int]] = {}
    for group, value in zip(groups[order].tolist(), rank.tolist(), strict=True):
        contents.setdefault(group, []).append(value)
    place = {group: i for i, group in enumerate(sorted(contents, key=lambda g: contents[g]))}
    member = np.array([place[group] for group in groups[order].tolist()], dtype=np.int64)
    # Rows of equal contents in the order of their units, so that sums round alike too.
    order = np.lexsort((member, rank))
    truth, probs, member = truth[order], probs[order], member[order]
    return Units(Scores(truth, probs), member, unit_strata(truth, member, len(place)))


def draw_units(
    stratum: Codes, replicates: int, rng: np.random.Generator, *, stratified: bool
) -> npt.NDArray[np.int64]:
    """Resample units with replacement: how often each came up, int64 [G, replicates]."""
    counts = np.zeros((len(stratum), replicates), dtype=np.int64)
    for value in np.unique(stratum) if stratified else [None]:
        places = np.arange(len(stratum)) if value is None else np.flatnonzero(stratum == value)
        size = len(places)
        drawn = rng.integers(0, size, size=(replicates, size), dtype=np.int32)
        cells = drawn * np.int64(replicates) + np.arange(replicates)[:, None]
        counts[places] = np.bincount(cells.ravel(), minlength=size * replicates).reshape(size, -1)
    return counts


def replicate_scores(
    units: Units,
    names: Sequence[str],
    replicates: int,
    rng: np.random.Generator,
    *,
    stratified: bool = False,
) -> dict[str, Array]:
    """Draw bootstrap replicates of metrics of probabilities: each [replicates].

    Exactly the bootstrap that resamples rows (Efron and Tibshirani 1993, chapter 6), with the rows
    sorted once instead of once a replicate.
    """
    parts = [
        compute_scores(
            units.scores,
            names,
            units.weights(draw_units(units.stratum, size, rng, stratified=stratified)),
        )
        for size in block_sizes(replicates, BLOCK_WEIGHTS // len(units.member))
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def leave_out_scores(units: Units, names: Sequence[str]) -> dict[str, Array]:
    """Compute each metric with one unit left out: [G] (Efron and Tibshirani 1993, chapter 11)."""
    return {name: leave_out(units.scores, units.member, units.n_units, name) for name in names}


def leave_out(scores: Scores, member: Codes, units: int, name: str) -> Array:
    """Compute a metric of probabilities with each unit left out: [G].

    ROC AUC and average precision in one pass over sorted rows; other metrics by weights of 0.

    Parameters
    ----------
    member : int64 [n]
        The unit of each row.
    units : int
    """
    if name in ROC_METRICS:
        return leave_out_auc(scores, member, units, weighted=name == "roc_auc_ovr_weighted")
    if name == "average_precision":
        return leave_out_average_precision(scores, member, units)
    left = np.full(units, np.nan)
    if name == "calibration_slope":
        left = leave_out_slope(scores, member, units)
    rest, start = np.flatnonzero(np.isnan(left)), 0
    for size in block_sizes(len(rest), BLOCK_WEIGHTS // len(member)):
        places = rest[start : start + size]
        weights = (member[:, None] != places).astype(np.float64)
        left[places] = compute_scores(scores, [name], weights)[name]
        start += size
    return left


def block_sizes(total: int, most: int) -> Iterator[int]:
    """Split a number of draws into blocks of at most `most`, at least one.

    The size of a block changes what is drawn: `most` must depend on the data alone.
    """
    most = max(1, most)
    for start in range(0, total, most):
        yield min(most, total - start)


def unit_strata(truth: Codes, member: Codes, units: int) -> Codes:
    """Give the class of each unit; units of several classes are a stratum of their own, -1."""
    lowest, highest = np.full(units, truth.max()), np.zeros(units, dtype=np.int64)
    np.minimum.at(lowest, member, truth)
    np.maximum.at(highest, member, truth)
    return np.where(lowest == highest, lowest, -1)


def count_classes(member: Codes, truth: Codes, units: int) -> npt.NDArray[np.int64]:
    """Count the rows of each class in each unit: [G, K], classes up to the last that occurs."""
    k = int(truth.max()) + 1
    return np.bincount(member * k + truth, minlength=units * k).reshape(units, k)

"""Several runs on the same images, compared by metrics that need rows.

Metrics of probabilities, and a user's own. A test set without a unit is the same rows, those of the
unit counted 0 times.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array, Codes, of_probabilities, of_rows
from frostline.report.statistics.own_metrics import CALLS_AT_ONCE, Answers, number_units
from frostline.report.statistics.resampling.units import (
    BLOCK_WEIGHTS,
    block_sizes,
    count_classes,
    leave_out,
    make_units,
)
from frostline.report.statistics.scores import Scores, compute_scores, row_losses


@dataclass(frozen=True)
class PairedRows(ABC):
    """What runs answered on the same rows.

    Attributes
    ----------
    member : int64 [n]
        The unit of each row.
    n_units : int
    """

    member: Codes
    n_units: int

    @property
    @abstractmethod
    def at_once(self) -> int:
        """How many test sets without a unit are held at once."""

    @abstractmethod
    def differing_rows(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the rows that two runs answered differently: [n]."""

    @abstractmethod
    def counted(self, metric: str, counts: npt.NDArray[np.int64]) -> Array:
        """Score each run with units counted so often, counts [G, B]: [M, B]."""

    @property
    @abstractmethod
    def n_runs(self) -> int:
        """Number of runs."""

    @abstractmethod
    def class_images(self) -> npt.NDArray[np.int64]:
        """Count the images of each class in each unit: [G, K]."""

    def sums(self, metric: str) -> Array | None:
        """Give the sums over units of a metric that is a mean over images [G, M]; else None."""
        return None

    def estimates(self, metric: str) -> Array:
        """Compute the metric of each run: [M]."""
        return self.counted(metric, np.ones((self.n_units, 1), dtype=np.int64))[:, 0]

    def left_out(self, metric: str, step: Callable[[], None]) -> Array:
        """Compute every run's metric with each unit left out: [M, G]; `step` for each run."""
        parts, start = [], 0
        for size in block_sizes(self.n_units, self.at_once):
            counts = np.ones((self.n_units, size), dtype=np.int64)
            counts[np.arange(start, start + size), np.arange(size)] = 0
            parts.append(self.counted(metric, counts))
            start += size
        for _ in range(self.n_runs):
            step()
        return np.concatenate(parts, axis=1)

    def differing(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the units in which two runs answered differently: [G]."""
        return np.bincount(self.member[self.differing_rows(a, b)], minlength=self.n_units) > 0


@dataclass(frozen=True)
class PairedScores(PairedRows):
    """Probabilities of runs; rows are sorted once.

    Attributes
    ----------
    runs : tuple of Scores
        Truth [n] and probabilities [n, K] of each run, rows in one order.
    """

    runs: tuple[Scores, ...]

    @property
    def at_once(self) -> int:
        """As many as their weights fit into memory."""
        return BLOCK_WEIGHTS // len(self.member)

    def differing_rows(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the rows that two runs gave different probabilities: [n]."""
        return np.asarray((self.runs[a].probs != self.runs[b].probs).any(1))

    def counted(self, metric: str, counts: npt.NDArray[np.int64]) -> Array:
        """Score each run with units weighted by their counts [G, B]: [M, B]."""
        weights = counts[self.member].astype(np.float64)
        return np.stack([compute_scores(run, [metric], weights)[metric] for run in self.runs])

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.runs)

    def class_images(self) -> npt.NDArray[np.int64]:
        """Count the images of each class in each unit: [G, K]."""
        return count_classes(self.member, self.runs[0].truth, self.n_units)

    def sums(self, metric: str) -> Array | None:
        """Give the sums over units of a metric that is a mean over images [G, M]; else None."""
        losses = [row_losses(run, metric) for run in self.runs]
        if any(one is None for one in losses):
            return None
        return np.stack([np.bincount(self.member, one, self.n_units) for one in losses], axis=1)

    def left_out(self, metric: str, step: Callable[[], None]) -> Array:
        """Compute every run's metric with each unit left out: [M, G]; `step` after each run."""
        left = []
        for run in self.runs:
            left.append(leave_out(run, self.member, self.n_units, metric))
            step()
        return np.stack(left)


@dataclass(frozen=True)
class PairedOwn(PairedRows):
    """Answers of runs, for a metric of the user's own: a call for every value.

    Attributes
    ----------
    runs : tuple of Answers
        One a run.
    """

    runs: tuple[Answers, ...]

    @property
    def at_once(self) -> int:
        """As many as are called in a moment."""
        return CALLS_AT_ONCE

    def estimates(self, metric: str) -> Array:
        """Score each run, whatever its function raises: [M]."""
        return np.array([run.score(metric) for run in self.runs])

    def contents(self, metric: str) -> list[Hashable]:
        """Give what a metric sees of each run: equal for runs that are identical to it."""
        keys: list[Hashable] = []
        for run in self.runs:
            answers = () if of_probabilities(metric) else tuple(run.prediction)
            # A metric of counts sees no probabilities.
            probs = run.probs.tobytes() if of_rows(metric) and run.probs is not None else b""
            keys.append((answers, probs))
        return keys

    def differing_rows(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the rows that two runs answered differently, or with other probabilities: [n]."""
        one, other = self.runs[a], self.runs[b]
        apart = np.asarray(one.prediction != other.prediction)
        if one.probs is not None and other.probs is not None:
            apart |= (one.probs != other.probs).any(1)
        return apart

    def counted(self, metric: str, counts: npt.NDArray[np.int64]) -> Array:
        """Score each run on rows repeated as often as their units count [G, B]: [M, B]."""
        rows = [np.repeat(np.arange(len(self.member)), one[self.member]) for one in counts.T]
        return np.array([[run.score_rows(metric, part) for part in rows] for run in self.runs])

    @property
    def n_runs(self) -> int:
        """Number of runs."""
        return len(self.runs)

    def class_images(self) -> npt.NDArray[np.int64]:
        """Count the images of each class in each unit: [G, K]."""
        _, truth = np.unique(self.runs[0].truth, return_inverse=True)
        return count_classes(self.member, truth, self.n_units)


def make_paired_own(runs: Sequence[Answers], groups: Codes | None) -> PairedOwn:
    """Number the units of rows that are the same in all runs."""
    member, units = number_units(groups, len(runs[0].truth))
    return PairedOwn(member, units, tuple(runs))


def make_paired_scores(truth: Codes, probs: Sequence[Array], groups: Codes | None) -> PairedScores:
    """Sort rows and units by their contents, so that neither order nor names affect the result."""
    k = probs[0].shape[1]
    units = make_units(truth, np.concatenate(probs, axis=1), groups)
    runs = tuple(
        Scores(units.scores.truth, np.ascontiguousarray(part))
        for part in np.split(units.scores.probs, range(k, len(probs) * k, k), axis=1)
    )
    return PairedScores(units.member, units.n_units, runs)

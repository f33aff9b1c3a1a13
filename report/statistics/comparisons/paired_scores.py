"""Several runs on the same images, compared by metrics of their probabilities.

Rows are sorted once. A resampled test set is the same rows with other weights (`units.py`); so is
one in which some units were swapped between two runs: of the rows of both runs together, each unit
counts with the rows of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array
from frostline.report.statistics.resampling.units import (
    BLOCK_WEIGHTS,
    block_sizes,
    draw_units,
    make_units,
)
from frostline.report.statistics.scores import Scores, compute_scores

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairedScores:
    """Probabilities of runs on the same rows.

    Attributes
    ----------
    runs : tuple of Scores
        Truth [n] and probabilities [n, K] of each run, rows in one order.
    member : int64 [n]
        The unit of each row.
    n_units : int
    """

    runs: tuple[Scores, ...]
    member: Codes
    n_units: int

    def estimates(self, metric: str) -> Array:
        """Compute the metric of each run: [M]."""
        return self._weighted(metric, np.ones((self.n_units, 1)))[:, 0]

    def replicates(self, metric: str, replicates: int, rng: np.random.Generator) -> Array:
        """Draw bootstrap replicates of every run by the same units: [M, replicates]."""
        everyone = np.zeros(self.n_units, dtype=np.int64)
        return np.concatenate(
            [
                self._weighted(metric, draw_units(everyone, size, rng, stratified=False))
                for size in block_sizes(replicates, BLOCK_WEIGHTS // len(self.member))
            ],
            axis=1,
        )

    def left_out(self, metric: str) -> Array:
        """Compute every run's metric with each unit left out: [M, G]."""
        parts, start = [], 0
        for size in block_sizes(self.n_units, BLOCK_WEIGHTS // len(self.member)):
            counts = np.ones((self.n_units, size))
            counts[np.arange(start, start + size), np.arange(size)] = 0
            parts.append(self._weighted(metric, counts))
            start += size
        return np.concatenate(parts, axis=1)

    def differing(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark units with a row that two runs gave different probabilities: [G]."""
        apart = (self.runs[a].probs != self.runs[b].probs).any(1)
        return np.bincount(self.member[apart], minlength=self.n_units) > 0

    def swapped(self, metric: str, a: int, b: int, swaps: Array) -> Array:
        """Compute the difference after arrangements [B, G], 1 where a unit is swapped: [B]."""
        one, other = self.runs[a], self.runs[b]
        both = Scores(np.tile(one.truth, 2), np.concatenate([one.probs, other.probs]))
        parts = []
        start = 0
        for size in block_sizes(len(swaps), BLOCK_WEIGHTS // (2 * len(self.member))):
            moved = swaps[start : start + size, self.member].T
            first = np.concatenate([1 - moved, moved])
            values = [
                compute_scores(both, [metric], weights)[metric] for weights in (first, 1 - first)
            ]
            parts.append(values[0] - values[1])
            start += size
        return np.concatenate(parts)

    def _weighted(self, metric: str, counts: npt.NDArray[np.number]) -> Array:
        weights = counts[self.member].astype(np.float64)
        return np.stack([compute_scores(run, [metric], weights)[metric] for run in self.runs])


def make_paired_scores(truth: Codes, probs: Sequence[Array], groups: Codes | None) -> PairedScores:
    """Sort rows and units by their contents, so that neither order nor names affect the result."""
    k = probs[0].shape[1]
    units = make_units(truth, np.concatenate(probs, axis=1), groups)
    runs = tuple(
        Scores(units.scores.truth, np.ascontiguousarray(part))
        for part in np.split(units.scores.probs, range(k, len(probs) * k, k), axis=1)
    )
    return PairedScores(runs, units.member, units.n_units)

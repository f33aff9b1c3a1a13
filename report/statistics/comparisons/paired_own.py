"""Several runs on the same images, compared by a metric of the user's own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array, of_probabilities, of_rows
from frostline.report.statistics.own_metrics import CALLS_AT_ONCE, Answers, number_units
from frostline.report.statistics.resampling.units import block_sizes, draw_units

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairedOwn:
    """What runs answered on the same rows; as `PairedScores`, a row of calls for every value.

    Attributes
    ----------
    runs : tuple of Answers
        One a run.
    member : int64 [n]
        The unit of each row.
    n_units : int
    """

    runs: tuple[Answers, ...]
    member: Codes
    n_units: int

    def estimates(self, metric: str) -> Array:
        """Score each run: [M]."""
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

    def replicates(self, metric: str, replicates: int, rng: np.random.Generator) -> Array:
        """Draw bootstrap replicates of every run by the same units: [M, replicates]."""
        everyone = np.zeros(self.n_units, dtype=np.int64)
        parts = []
        for size in block_sizes(replicates, CALLS_AT_ONCE):
            parts += list(draw_units(everyone, size, rng, stratified=False).T)
        return self._by_counts(metric, parts)

    def left_out(self, metric: str) -> Array:
        """Score every run with each unit left out: [M, G]."""
        return self._by_counts(metric, list(1 - np.eye(self.n_units, dtype=np.int64)))

    def differing(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the units in which two runs answered differently: [G]."""
        one, other = self.runs[a], self.runs[b]
        apart = one.prediction != other.prediction
        if one.probs is not None and other.probs is not None:
            apart |= (one.probs != other.probs).any(1)
        return np.bincount(self.member[apart], minlength=self.n_units) > 0

    def swapped(self, metric: str, a: int, b: int, swaps: Array) -> Array:
        """Compute the difference after arrangements [B, G], 1 where a unit is swapped: [B]."""
        one, other = self.runs[a], self.runs[b]
        n = len(self.member)
        both = Answers(
            np.tile(one.truth, 2),
            np.concatenate([one.prediction, other.prediction]),
            None
            if one.probs is None or other.probs is None
            else np.concatenate([one.probs, other.probs]),
        )
        out = np.empty(len(swaps))
        for place, arrangement in enumerate(swaps):
            moved = arrangement[self.member] > 0
            first = np.arange(n) + n * moved
            second = np.arange(n) + n * ~moved
            out[place] = both.score_rows(metric, first) - both.score_rows(metric, second)
        return out

    def _by_counts(self, metric: str, counts: Sequence[npt.NDArray[np.int64]]) -> Array:
        rows = [np.repeat(np.arange(len(self.member)), one[self.member]) for one in counts]
        return np.array([[run.score_rows(metric, part) for part in rows] for run in self.runs])


def make_paired_own(runs: Sequence[Answers], groups: Codes | None) -> PairedOwn:
    """Number the units of rows that are the same in all runs."""
    member, units = number_units(groups, len(runs[0].truth))
    return PairedOwn(tuple(runs), member, units)

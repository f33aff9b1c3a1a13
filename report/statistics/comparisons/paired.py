"""Several runs on the same images: joint tables, paired intervals, and swaps of whole groups.

What a comparison needs of an image is its class and what each run called it: a cell of the joint
table truth x A x B x … A unit's content is its counts of these cells, units with equal contents are
one kind, and resampling or swapping units is drawing numbers of kinds, exactly (`bootstrap.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.paired_scores import PairedScores, make_paired_scores
from frostline.report.statistics.metrics import (
    Array,
    compute_metrics,
    find_metric,
    of_probabilities,
)
from frostline.report.statistics.resampling.bootstrap import multinomial, unit_contents
from frostline.report.statistics.resampling.replicates import jackknife_error

Codes = npt.NDArray[np.int64]
# Up to this many units that differ, all arrangements are visited instead of drawn.
MOST_ENUMERATED = 14
BLOCK = 1_000
# Two sums of the same numbers may round apart; they are one value.
TIE = 1e-12


@dataclass(frozen=True)
class Paired:
    """Runs that were scored on the same images.

    Attributes
    ----------
    matrices : int64 [U, M, K, K]
        For every kind of unit, the confusion matrix of each run.
    counts : int64 [U]
        How many units are of each kind.
    classes : tuple of str
        The class list of all runs.
    rows : (truth [n], probabilities [n, K] of each run, groups [n] or None) or None
        What metrics of probabilities are compared by; None where a run has none.
    """

    matrices: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    rows: tuple[Codes, Sequence[Array], Codes | None] | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.counts.sum())

    @property
    def totals(self) -> npt.NDArray[np.int64]:
        """Confusion matrix of each run: [M, K, K]."""
        return np.asarray(np.tensordot(self.counts, self.matrices, axes=1))

    def estimates(self, metric: str) -> Array:
        """The metric of each run: [M]."""
        if of_probabilities(metric):
            return self.probabilities(metric).estimates(metric)
        return self.values(metric, self.totals)

    def probabilities(self, metric: str) -> PairedScores:
        """The probabilities, which this metric needs."""
        if self.rows is None:
            raise InputError(
                f"{find_metric(metric).title.lower()} needs probabilities, and not every run has "
                "them; compare by another metric."
            )
        return self._scores

    @cached_property
    def _scores(self) -> PairedScores:
        assert self.rows is not None
        return make_paired_scores(*self.rows)

    def values(self, metric: str, confusions: npt.NDArray[np.generic]) -> Array:
        """The metric of confusion matrices [..., K, K]."""
        return compute_metrics(confusions, [metric], self.classes)[metric]

    def differing(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Which kinds of units the runs `a` and `b` scored differently: [U]."""
        return np.asarray((self.matrices[:, a] != self.matrices[:, b]).any((-2, -1)))


def make_paired(
    truth: Codes, predictions: Sequence[Codes], classes: tuple[str, ...], groups: Codes | None
) -> Paired:
    """Reduce class numbers of the same rows to the kinds of their units.

    Neither the order of rows nor the names of groups affect the result.
    """
    cells, cell = np.unique(np.stack([truth, *predictions]), axis=1, return_inverse=True)
    contents, counts = unit_contents(cell.ravel(), groups)
    k = len(classes)
    matrices = np.zeros((len(contents), len(predictions), k, k), dtype=np.int64)
    for row, entries in enumerate(contents):
        for number, times in entries:
            for run, called in enumerate(cells[1:, number]):
                matrices[row, run, cells[0, number], called] += times
    return Paired(matrices, counts, classes)


def replicate_values(
    paired: Paired, metric: str, replicates: int, rng: np.random.Generator
) -> Array:
    """Bootstrap replicates of every run's metric by the same draws of units: [M, replicates].

    The paired bootstrap (Efron and Tibshirani 1993, section 8.3).
    """
    if of_probabilities(metric):
        return paired.probabilities(metric).replicates(metric, replicates, rng)
    shape = paired.matrices.shape
    flat = paired.matrices.reshape(shape[0], -1).astype(np.float64)
    parts = []
    for start in range(0, replicates, BLOCK):
        size = min(BLOCK, replicates - start)
        drawn = multinomial(paired.counts, size, rng)
        parts.append(paired.values(metric, (drawn @ flat).reshape(size, *shape[1:])))
    return np.concatenate(parts).T


def leave_out_values(paired: Paired, metric: str) -> tuple[Array, npt.NDArray[np.int64]]:
    """Every run's metric with one unit left out [M, U], and how many units have that value [U]."""
    if of_probabilities(metric):
        left = paired.probabilities(metric).left_out(metric)
        return left, np.ones(left.shape[1], dtype=np.int64)
    return paired.values(metric, paired.totals - paired.matrices).T, paired.counts


def difference_error(paired: Paired, metric: str, a: int, b: int) -> float:
    """Delete-one-unit jackknife error of the difference of two runs."""
    left, counts = leave_out_values(paired, metric)
    return jackknife_error(left[a] - left[b], counts)


@dataclass(frozen=True)
class Swaps:
    """Differences after swapping the predictions of whole units between two runs.

    Attributes
    ----------
    observed : float64 [P]
        The difference of each pair, as it is.
    swapped : float64 [P, B]
        After each arrangement, the same units swapped in every pair.
    complete : bool
        Whether these are all arrangements, the observed one among them.
    n_differing : int64 [P]
        Units in which the pair differs at all; only their swaps matter.
    """

    observed: Array
    swapped: Array
    complete: bool
    n_differing: npt.NDArray[np.int64]


def swap_units(
    paired: Paired,
    metric: str,
    pairs: Sequence[tuple[int, int]],
    permutations: int,
    rng: np.random.Generator,
) -> Swaps:
    """Swap whole units between the runs of every pair: the law of the difference if both are alike.

    If two runs are alike, it does not matter which of them answered for a patient (Fisher 1935;
    for clusters Gail and others 1996). With at most 14 units that differ all arrangements are
    visited, else they are drawn.
    """
    if of_probabilities(metric):
        return _swap_scores(paired.probabilities(metric), metric, pairs, permutations, rng)
    differing = np.stack([paired.differing(a, b) for a, b in pairs])
    used = differing.any(0)
    counts, k = paired.counts[used], len(paired.classes)
    complete = int(counts.sum()) <= MOST_ENUMERATED
    totals = paired.totals
    values = paired.estimates(metric)
    parts = []
    for swaps in _arrangements(counts, permutations, rng, complete=complete):
        block = np.empty((len(pairs), len(swaps)))
        for row, (a, b) in enumerate(pairs):
            own = differing[row, used]
            change = (paired.matrices[:, b] - paired.matrices[:, a])[used][own]
            moved = swaps[:, own] @ change.reshape(-1, k * k).astype(np.float64)
            moved = moved.reshape(-1, k, k)
            block[row] = paired.values(metric, totals[a] + moved)
            block[row] -= paired.values(metric, totals[b] - moved)
        parts.append(block)
    observed = np.array([values[a] - values[b] for a, b in pairs])
    return Swaps(observed, np.concatenate(parts, axis=1), complete, differing @ paired.counts)


def _swap_scores(
    scores: PairedScores,
    metric: str,
    pairs: Sequence[tuple[int, int]],
    permutations: int,
    rng: np.random.Generator,
) -> Swaps:
    """As `swap_units`, every unit being of its own kind."""
    differing = np.stack([scores.differing(a, b) for a, b in pairs])
    used = np.flatnonzero(differing.any(0))
    complete = len(used) <= MOST_ENUMERATED
    values = scores.estimates(metric)
    parts = []
    ones = np.ones(len(used), dtype=np.int64)
    for drawn in _arrangements(ones, permutations, rng, complete=complete):
        swaps = np.zeros((len(drawn), scores.n_units))
        swaps[:, used] = drawn
        parts.append(np.stack([scores.swapped(metric, a, b, swaps) for a, b in pairs]))
    observed = np.array([values[a] - values[b] for a, b in pairs])
    return Swaps(observed, np.concatenate(parts, axis=1), complete, differing.sum(1))


def swap_p_values(swaps: Swaps) -> tuple[Array, Array]:
    """Two-sided p of every pair, and the smallest that its units could have given: each [P].

    The share of arrangements with a difference at least as large; of drawn arrangements
    (b + 1) / (B + 1), the observed one counted (Davison and Hinkley 1997, section 4.2).
    """
    # Where the metric is undefined, the arrangement counts against a difference.
    sizes = np.where(np.isnan(swaps.swapped), np.inf, np.abs(swaps.swapped))
    observed = np.nan_to_num(np.abs(swaps.observed))
    reached = (sizes >= observed[:, None] - TIE).sum(1)
    extreme = (sizes >= sizes.max(1, keepdims=True) - TIE).sum(1)
    drawn = swaps.swapped.shape[1]
    if swaps.complete:
        return reached / drawn, extreme / drawn
    # One arrangement and its mirror image are the most extreme of 2 ** differing.
    possible = np.minimum(2.0 ** (1 - swaps.n_differing.astype(np.float64)), 1)
    return (reached + 1) / (drawn + 1), np.maximum(1 / (drawn + 1), possible)


def _arrangements(
    counts: npt.NDArray[np.int64], permutations: int, rng: np.random.Generator, *, complete: bool
) -> Iterator[Array]:
    """Blocks of how many units of each kind are swapped: [block, U]."""
    if complete:
        # Units of a kind are visited one by one, so that each arrangement counts once.
        units = np.repeat(np.arange(len(counts)), counts)
        bits = (np.arange(2 ** len(units))[:, None] >> np.arange(len(units))) & 1
        member = (units[:, None] == np.arange(len(counts))).astype(np.float64)
        yield bits @ member
        return
    for start in range(0, permutations, BLOCK):
        size = min(BLOCK, permutations - start)
        yield rng.binomial(counts, 0.5, size=(size, len(counts))).astype(np.float64)

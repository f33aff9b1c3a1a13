"""Swaps of whole groups between two runs: what their difference would be if both were alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.comparisons.paired import DRAWS_AT_ONCE, Paired
from frostline.report.statistics.comparisons.paired_rows import PairedRows
from frostline.report.statistics.metrics import Array, of_rows
from frostline.report.statistics.resampling.units import block_sizes

# Up to this many units that differ, all arrangements are visited instead of drawn.
MOST_ENUMERATED = 14
# Two sums of the same numbers may round apart; they are one value.
TIE = 1e-12


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
    if of_rows(metric):
        return _swap_scores(paired.by_rows(metric), metric, pairs, permutations, rng)
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
    scores: PairedRows,
    metric: str,
    pairs: Sequence[tuple[int, int]],
    permutations: int,
    rng: np.random.Generator,
) -> Swaps:
    """Swap units of rows, each of its own kind."""
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
    """Give the two-sided p of every pair, and the smallest that its units allow: each [P].

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
    """Draw in blocks how many units of each kind are swapped: [block, U]."""
    if complete:
        # Units of a kind are visited one by one, so that each arrangement counts once.
        units = np.repeat(np.arange(len(counts)), counts)
        bits = (np.arange(2 ** len(units))[:, None] >> np.arange(len(units))) & 1
        member = (units[:, None] == np.arange(len(counts))).astype(np.float64)
        yield bits @ member
        return
    for size in block_sizes(permutations, DRAWS_AT_ONCE):
        yield rng.binomial(counts, 0.5, size=(size, len(counts))).astype(np.float64)

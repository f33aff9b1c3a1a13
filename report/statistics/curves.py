"""Curves over thresholds: ROC, precision–recall and net benefit, with bands over groups."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.report.statistics.comparisons.methods import Method
from frostline.report.statistics.metrics import Array

GRID = np.linspace(0, 1, 101)
REACHED = GRID - 1e-12
THRESHOLDS = np.linspace(0.01, 0.99, 99)
BAND_REPLICATES = 500
BLOCK = 100
CURVE_COLUMNS = ("run", "kind", "label", "x", "y", "low", "high")


def roc_and_precision_recall(method: Method, seed: int = 0) -> pd.DataFrame:
    """Draw ROC and precision–recall of the positive of two classes, or the mean of one-versus-rest.

    Bands are the central 95% of `BAND_REPLICATES` bootstrap replicates over groups, point by point;
    the curves of seeds are averaged, in each replicate by the same draw of groups. Between
    thresholds precision is not interpolated (Davis and Goadrich 2006): at each recall it is that of
    the highest threshold that reaches it.

    Returns
    -------
    DataFrame
        Columns `CURVE_COLUMNS`, kinds "roc" (x false, y true positive rate) and
        "precision-recall" (x recall, y precision); no rows without probabilities.
    """
    rows = method_rows(method)
    if rows is None:
        return pd.DataFrame(columns=list(CURVE_COLUMNS))
    truth, probs, groups = rows
    chosen = [1] if probs.shape[2] == 2 else range(probs.shape[2])
    sorted_rows = [_Sorted(truth == c, probs[s, :, c]) for s in range(len(probs)) for c in chosen]
    counts = _draw(int(groups.max()) + 1, seed)
    roc, precision = [], []
    for start in range(0, len(counts), BLOCK):
        weights = counts[start : start + BLOCK, groups].astype(np.int32)
        both = [one.curves(weights) for one in sorted_rows]
        roc.append(_mean([pair[0] for pair in both]))
        precision.append(_mean([pair[1] for pair in both]))
    return pd.concat(
        [
            _banded(method.name, "roc", np.concatenate(roc)),
            _banded(method.name, "precision-recall", np.concatenate(precision)),
        ]
    )


def _mean(curves: list[Array]) -> Array:
    """Average those that are there; a replicate without a class has no curve of it (nan)."""
    values = np.stack(curves)
    there = np.isfinite(values).sum(axis=0)
    nothing = np.full(there.shape, np.nan)
    return np.divide(np.nansum(values, axis=0), there, out=nothing, where=there > 0)


def net_benefit(method: Method, seed: int = 0) -> pd.DataFrame:
    """Compute the net benefit of acting above a threshold, for each class against all.

    Vickers and Elkin (2006): TP/n - FP/n · t/(1 - t), averaged over seeds; kind "net-benefit", and
    "act-on-all" for acting on every image. Of two classes the positive one alone. Never acting is
    0. Bands are those of `roc_and_precision_recall`, by the same draws; acting on all has none.
    """
    rows = method_rows(method)
    if rows is None:
        return pd.DataFrame(columns=list(CURVE_COLUMNS))
    truth, probs, groups = rows
    odds = THRESHOLDS / (1 - THRESHOLDS)
    counts = _draw(int(groups.max()) + 1, seed)
    images = counts @ np.bincount(groups).astype(np.float64)
    parts = []
    for c in [1] if probs.shape[2] == 2 else range(probs.shape[2]):
        positive = truth == c
        acted = np.mean([one >= THRESHOLDS for one in probs[:, :, c, None]], axis=0)
        gain = acted * np.where(positive[:, None], 1.0, -odds)
        by_group = np.zeros((counts.shape[1], len(THRESHOLDS)))
        np.add.at(by_group, groups, gain)
        drawn = counts @ by_group / images[:, None]
        label = method.sample.classes[c]
        parts.append(_banded(method.name, "net-benefit", drawn, THRESHOLDS, label))
        share = positive.mean()
        curve = {"run": method.name, "kind": "act-on-all", "label": label, "x": THRESHOLDS}
        every = share - (1 - share) * odds
        parts.append(pd.DataFrame({**curve, "y": every, "low": np.nan, "high": np.nan}))
    return pd.concat(parts)


@lru_cache(maxsize=1)  # The methods of a data set have the same units, one after the other.
def _draw(units: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw how often each group comes up: [1 + BAND_REPLICATES, G], the first as they are."""
    drawn = np.random.default_rng(seed).multinomial(
        units, np.full(units, 1 / units), BAND_REPLICATES
    )
    return np.concatenate([np.ones((1, units), dtype=np.int64), drawn])


class _Sorted:
    """One class against the rest, rows from the highest score down."""

    def __init__(self, positive: npt.NDArray[np.bool_], score: Array) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.positive = positive[self.order]
        descending = score[self.order]
        # The last row of each run of equal scores: a threshold takes all of them or none.
        self.ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))

    def curves(self, weights: npt.NDArray[np.int32]) -> tuple[Array, Array]:
        """Compute true positive rate and precision at `GRID`, [R, len(GRID)] each, of [R, n]."""
        drawn = weights[:, self.order]
        called, true = (
            np.cumsum(one, axis=1, dtype=np.int32)[:, self.ends]
            for one in (drawn, drawn * self.positive)
        )
        false = called - true
        positives, negatives = true[:, -1:], false[:, -1:]
        last = len(self.ends) - 1
        with np.errstate(invalid="ignore", divide="ignore"):
            # So many false ones give a rate of `GRID` or the next below; quotients are rounded.
            most = np.floor(GRID * negatives)
            most -= most / negatives > GRID
            most += (most + 1) / negatives <= GRID
            before = _count_up_to(false, most) - 1
            ends = [np.clip(place, 0, last) for place in (before, before + 1)]
            x0, x1 = (np.take_along_axis(false, place, 1) / negatives for place in ends)
            y0, y1 = (np.take_along_axis(true, place, 1) / positives for place in ends)
            line = (y1 - y0) / (x1 - x0) * (GRID - x0) + y0
            roc = np.where(before < 0, 0, np.where(before == last, y0, line))
            reached = _count_up_to(true, np.ceil(REACHED * positives) - 1)
            out = np.take_along_axis(true, reached, 1) / np.take_along_axis(called, reached, 1)
        nothing = (positives == 0) | (negatives == 0)
        roc, out = np.where(nothing, np.nan, roc), np.where(nothing, np.nan, out)
        # At recall 0 nothing is called: the precision of the first that is.
        out[:, 0] = np.where(np.isnan(out[:, 0]), out[:, 1], out[:, 0])
        return roc, out


def _count_up_to(rising: npt.NDArray[np.int32], most: Array) -> npt.NDArray[np.int64]:
    """Count in each row [R, n] of whole numbers from 0 those that are at most `most` [R, L]."""
    # Each row above the one before: so that one search does for all.
    rows = np.arange(len(rising), dtype=np.int32)[:, None]
    above = rows * (rising.max() + 1)
    found = np.searchsorted((rising + above).ravel(), most.astype(np.int32) + above, "right")
    return np.asarray(found - rows * rising.shape[1])


def method_rows(
    method: Method,
) -> tuple[npt.NDArray[np.int64], Array, npt.NDArray[np.int64]] | None:
    """Give truth [n], probabilities [S, n, K] and groups [n] of rows, sorted by their names.

    None where a seed has no probabilities.
    """
    if any(sample.probs is None for _, sample in method.runs):
        return None
    first = method.sample
    orders = [
        np.arange(len(sample.truth)) if sample.ids is None else np.argsort(sample.ids.astype(str))
        for _, sample in method.runs
    ]
    probs = np.stack(
        [
            sample.probs[order]
            for (_, sample), order in zip(method.runs, orders, strict=True)
            if sample.probs is not None
        ]
    )
    groups = np.arange(len(first.truth)) if first.groups is None else first.groups[orders[0]]
    return first.truth[orders[0]], probs, np.unique(groups, return_inverse=True)[1]


def _banded(run: str, kind: str, drawn: Array, x: Array = GRID, label: str = "") -> pd.DataFrame:
    """Give the estimate, which is the first row, and bounds from the replicates, the rest."""
    bounds = np.full((2, len(x)), np.nan)
    there = np.isfinite(drawn[1:]).any(axis=0)  # nowhere, where a class does not occur
    if there.any():
        drawn_there = drawn[1:, there]
        # The same numbers; without any that are nan, in a tenth of the time.
        quantile = np.nanquantile if np.isnan(drawn_there).any() else np.quantile
        bounds[:, there] = quantile(drawn_there, [0.025, 0.975], axis=0)
    low, high = bounds
    return pd.DataFrame(
        {"run": run, "kind": kind, "label": label, "x": x, "y": drawn[0], "low": low, "high": high}
    )

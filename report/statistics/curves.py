"""Curves over thresholds: ROC, precision–recall and net benefit, with bands over groups."""

from __future__ import annotations

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
    counts = _draw(groups, seed)
    roc, precision = [], []
    for start in range(0, len(counts), BLOCK):
        weights = counts[start : start + BLOCK, groups]
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
    counts = _draw(groups, seed)
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


def _draw(groups: npt.NDArray[np.int64], seed: int) -> Array:
    """Draw how often each group comes up: [1 + BAND_REPLICATES, G], the first as they are."""
    rng = np.random.default_rng(seed)
    units = int(groups.max()) + 1
    drawn = rng.multinomial(units, np.full(units, 1 / units), BAND_REPLICATES)
    return np.concatenate([np.ones((1, units)), drawn])


class _Sorted:
    """One class against the rest, rows from the highest score down."""

    def __init__(self, positive: npt.NDArray[np.bool_], score: Array) -> None:
        self.order = np.argsort(-score, kind="stable")
        self.positive = positive[self.order]
        descending = score[self.order]
        # The last row of each run of equal scores: a threshold takes all of them or none.
        self.ends = np.flatnonzero(np.append(descending[1:] != descending[:-1], True))

    def curves(self, weights: Array) -> tuple[Array, Array]:
        """Compute true positive rate and precision at `GRID`, [R, len(GRID)] each, of [R, n]."""
        ordered = weights[:, self.order]
        called = np.cumsum(ordered, axis=1)[:, self.ends]
        true = np.cumsum(ordered * self.positive, axis=1)[:, self.ends]
        false = called - true
        with np.errstate(invalid="ignore", divide="ignore"):
            recall, fall_out = true / true[:, -1:], false / false[:, -1:]
            precision = true / called
        roc = np.full((len(weights), len(GRID)), np.nan)
        out, last = np.full_like(roc, np.nan), precision.shape[1] - 1
        steepest = np.where(fall_out <= 0, recall, 0).max(axis=1)
        for r in np.flatnonzero(np.isfinite(recall[:, -1] + fall_out[:, -1])):
            roc[r] = np.interp(GRID, fall_out[r], recall[r], left=0)
            roc[r, 0] = steepest[r]
            reached = np.searchsorted(recall[r], REACHED)
            out[r] = precision[r, np.minimum(reached, last)]
        # At recall 0 nothing is called: the precision of the first that is.
        out[:, 0] = np.where(np.isnan(out[:, 0]), out[:, 1], out[:, 0])
        return roc, out


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
        bounds[:, there] = np.nanquantile(drawn[1:, there], [0.025, 0.975], axis=0)
    low, high = bounds
    return pd.DataFrame(
        {"run": run, "kind": kind, "label": label, "x": x, "y": drawn[0], "low": low, "high": high}
    )

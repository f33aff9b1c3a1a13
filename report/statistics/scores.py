"""Metrics of probabilities, for many weightings of the same rows at once.

A bootstrap replicate, or a sample with one patient left out, is the same rows with other weights.
Rows are sorted once; what every weighting needs is then sums along that order, done for a block
of weightings together: `weights` is `[n, R]`, one column a weighting, and every function gives
`[R]`. Values are scikit-learn's with `sample_weight`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array

NEWTON_STEPS = 25
SMALL_STEP = 1e-7
# Fixed beforehand, whatever the data: equal steps of confidence.
CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Scores:
    """Truth and probabilities of rows, and what is computed of them once.

    Attributes
    ----------
    truth : int64 [n]
        Class numbers.
    probs : float64 [n, K]
        Probabilities of the classes.
    """

    truth: npt.NDArray[np.int64]
    probs: Array

    @cached_property
    def columns(self) -> list[OneClass]:
        """Each class against the rest; of two classes the positive one, the last, alone."""
        n_classes = self.probs.shape[1]
        chosen = [1] if n_classes == 2 else range(n_classes)
        return [OneClass(self.truth == c, self.probs[:, c]) for c in chosen]

    @cached_property
    def called(self) -> tuple[Array, Array]:
        """Confidence and outcome: of the positive of two classes, else of the most probable one.

        With more than two classes this is top-label calibration (Gupta and Ramdas 2022).
        """
        if self.probs.shape[1] == 2:
            return self.probs[:, 1], (self.truth == 1).astype(np.float64)
        top = self.probs.argmax(1)
        return self.probs.max(1), (self.truth == top).astype(np.float64)


class OneClass:
    """One class against the rest, its rows sorted by score once."""

    def __init__(self, positive: npt.NDArray[np.bool_], score: Array) -> None:
        order = np.argsort(score, kind="stable")
        self.positive = order[positive[order]]
        self.negative = order[~positive[order]]
        lower = np.searchsorted(score[self.negative], score[self.positive], "left")
        upto = np.searchsorted(score[self.negative], score[self.positive], "right")
        self.lower, self.upto = lower, upto
        self.tied = bool((lower != upto).any())
        # Thresholds at which something is positive, each the last place of its tied positives.
        scores = score[self.positive]
        self.first = np.flatnonzero(np.diff(scores, prepend=-np.inf) > 0)

    def roc_auc(self, weights: Array) -> Array:
        """Compute the chance that a positive scores above a negative, ties half (`roc_auc_score`).

        The Mann-Whitney form (Hanley and McNeil 1982); NaN without positives or negatives.
        """
        positive, below = weights[self.positive], _from_zero(weights[self.negative])
        at = below[self.lower]
        if self.tied:
            at = (at + below[self.upto]) / 2
        pairs = positive.sum(0) * below[-1]
        return _divide(np.einsum("ir,ir->r", positive, at), pairs)

    def pairs_without(
        self, member: npt.NDArray[np.int64], units: int
    ) -> tuple[Array, Array, Array]:
        """Count pairs in the right order, positives and negatives without each unit: each [G].

        A unit takes with it the pairs of its positives and of its negatives, those of both once.
        """
        right = (self.lower + self.upto) / 2
        # Positives above each negative: what is not at or below it, ties half.
        steps = np.bincount(self.lower, minlength=len(self.negative) + 1)
        ends = np.bincount(self.upto, minlength=len(self.negative) + 1)
        above = len(self.positive) - (np.cumsum(steps) + np.cumsum(ends))[:-1] / 2
        own, others = member[self.positive], member[self.negative]
        taken = _sums(own, right, units) + _sums(others, above, units)
        taken -= self._pairs_within(own, others, units)
        positives = len(self.positive) - np.bincount(own, minlength=units)
        negatives = len(self.negative) - np.bincount(others, minlength=units)
        return right.sum() - taken, positives.astype(np.float64), negatives.astype(np.float64)

    def _pairs_within(
        self, own: npt.NDArray[np.int64], others: npt.NDArray[np.int64], units: int
    ) -> Array:
        """Count pairs in the right order within each unit, ties half: [G]."""
        # Places of negatives, unit after unit; a positive's place is between them.
        span = len(self.negative) + 1
        sorted_places = np.sort(others * span + np.arange(len(others)))
        first = np.searchsorted(sorted_places, own * span)
        at = [
            np.searchsorted(sorted_places, own * span + upto) - first
            for upto in (self.lower, self.upto)
        ]
        return _sums(own, (at[0] + at[1]) / 2, units)

    def average_precision(self, weights: Array) -> Array:
        """Sum precision at each threshold by the recall it adds (`average_precision_score`).

        0 without positives, as scikit-learn has it.
        """
        if not len(self.positive):
            return np.zeros(weights.shape[1])
        positive, negative = _from_zero(weights[self.positive]), _from_zero(weights[self.negative])
        above = positive[-1] - positive[self.first]
        false = negative[-1] - negative[self.lower[self.first]]
        gained = above - np.concatenate([above[1:], np.zeros((1, above.shape[1]))])
        precision = _divide(above, above + false, empty=0.0)
        return _divide((gained * precision).sum(0), positive[-1], empty=0.0)


def roc_auc(scores: Scores, weights: Array) -> Array:
    """Take the binary one, or the mean of one-versus-rest; NaN if a class is absent."""
    return np.mean([one.roc_auc(weights) for one in scores.columns], axis=0)


def roc_auc_ovr_weighted(scores: Scores, weights: Array) -> Array:
    """Average one-versus-rest by support (`roc_auc_ovr_weighted`); NaN if a class is absent."""
    support = np.stack([weights[one.positive].sum(0) for one in scores.columns])
    values = np.stack([one.roc_auc(weights) for one in scores.columns])
    return _divide((values * support).sum(0), support.sum(0))


def leave_out_auc(
    scores: Scores, member: npt.NDArray[np.int64], units: int, *, weighted: bool
) -> Array:
    """Compute ROC AUC with each unit left out, from the pairs that go with it: [G].

    `member` [n] is the unit of each row; `weighted` is the average by support.
    """
    values, support = [], []
    for one in scores.columns:
        pairs, positives, negatives = one.pairs_without(member, units)
        values.append(_divide(pairs, positives * negatives))
        support.append(positives)
    if not weighted:
        return np.asarray(np.mean(values, axis=0))
    return _divide((np.stack(values) * support).sum(0), np.sum(support, axis=0))


def average_precision(scores: Scores, weights: Array) -> Array:
    """Take that of the positive of two classes, or the plain mean over classes."""
    value: Array = np.mean([one.average_precision(weights) for one in scores.columns], axis=0)
    return np.where(weights.sum(0) > 0, value, np.nan)


def row_losses(scores: Scores, name: str) -> Array | None:
    """Give the loss of each row [n], of a metric that is their mean; None of any other."""
    if name == "log_loss":
        small = np.finfo(np.float64).eps
        true = scores.probs[np.arange(len(scores.truth)), scores.truth]
        return np.asarray(-np.log(np.clip(true, small, 1 - small)))
    if name == "brier_score_loss":
        n_classes = scores.probs.shape[1]
        squares = ((np.eye(n_classes)[scores.truth] - scores.probs) ** 2).sum(1)
        return np.asarray(squares / 2 if n_classes == 2 else squares)
    return None


def log_loss(scores: Scores, weights: Array) -> Array:
    """Average -log of the true class's probability, clipped as in scikit-learn (`log_loss`)."""
    return _mean(cast(Array, row_losses(scores, "log_loss")), weights)


def brier_score_loss(scores: Scores, weights: Array) -> Array:
    """Average the squared distance to the outcome (Brier 1950), halved for two classes."""
    return _mean(cast(Array, row_losses(scores, "brier_score_loss")), weights)


def calibration_slope(scores: Scores, weights: Array) -> Array:
    """Fit outcome on the logit of confidence (Cox 1958): slope 1 is right, below is overconfident.

    NaN where outcomes or confidences are all alike, or outcomes are separated, so that no finite
    slope is the most likely.
    """
    return calibration_fit(scores, weights)[0]


def calibration_fit(scores: Scores, weights: Array) -> tuple[Array, Array]:
    """Give slope and intercept of `calibration_slope`: [R] each; the slope is NaN without a fit."""
    from scipy.special import expit

    confidence, outcome = scores.called
    logit = logit_of(confidence)
    powers = np.stack([np.ones(len(logit)), logit, logit**2])
    wanted = powers[:2] @ (outcome[:, None] * weights)
    slope, intercept = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    # Undefined fits run off to infinity, which is how they are found.
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            mean = expit(logit[:, None] * slope + intercept)
            spread = weights * mean
            u, v = wanted - powers[:2] @ spread
            a, b, c = powers @ (spread - spread * mean)
            det = a * c - b * b
            down, across = (c * u - b * v) / det, (a * v - b * u) / det
            intercept, slope = intercept + down, slope + across
            # What is left after a step is about its square.
            done = np.abs(down) + np.abs(across) < SMALL_STEP
            if done[np.isfinite(slope)].all():
                break
        bad = ~done | ~np.isfinite(slope) | (np.abs(slope) > 1e3)
        bad |= nothing_to_fit(*(_mean(one, weights) for one in (outcome, logit, logit**2)))
    return np.where(bad, np.nan, slope), intercept


def nothing_to_fit(share: Array, mean: Array, square: Array) -> npt.NDArray[np.bool_]:
    """Say where outcomes or logits are all alike, though Newton's steps may stop by rounding there.

    From the means of outcomes, logits, and their squares: [R] each.
    """
    alike = square - mean**2 <= 1e-9 * (1 + square)
    return np.asarray((share < 1e-12) | (share > 1 - 1e-12) | alike)


def calibration_intercept(scores: Scores, weights: Array) -> Array:
    """Find the shift of the logit at slope 1 that makes the mean right (Cox 1958): 0 is right.

    "Calibration in the large" of Steyerberg (2019); NaN where outcomes are all alike.
    """
    confidence, outcome = scores.called
    logit, shift = logit_of(confidence), np.zeros(weights.shape[1])
    with np.errstate(all="ignore"):
        for _ in range(NEWTON_STEPS):
            mean = 1 / (1 + np.exp(-(logit[:, None] + shift)))
            step = (weights * (outcome[:, None] - mean)).sum(0)
            step = step / (weights * mean * (1 - mean)).sum(0)
            shift = shift + np.clip(step, -5, 5)
            done = np.abs(step) < 1e-10
            if done[np.isfinite(step)].all():
                break
    share = _mean(outcome, weights)
    return np.where(done & (share > 0) & (share < 1), shift, np.nan)


def calibration_error(scores: Scores, weights: Array) -> Array:
    """Compute the root mean squared gap of confidence and outcome in fixed bins, debiased.

    Kumar, Liang and Ma (2019), section 4: from each bin's squared gap its expectation under
    perfect calibration is taken, y(1 - y)/(n - 1), so that few images do not look miscalibrated.
    Bins of one image add nothing. It can come out at 0, and a bootstrap cannot say how sure that
    is: it has no interval; `calibration.reliability` gives consistency bars.
    """
    confidence, outcome = scores.called
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    member = np.eye(CALIBRATION_BINS)[bins].T
    count = member @ weights
    frequency = _divide(member @ (weights * outcome[:, None]), count, empty=0.0)
    mean = _divide(member @ (weights * confidence[:, None]), count, empty=0.0)
    noise = _divide(frequency * (1 - frequency), count - 1, empty=np.nan)
    gap = np.where(count > 1, (mean - frequency) ** 2 - noise, 0.0)
    return np.sqrt(np.maximum(_divide((count * gap).sum(0), count.sum(0)), 0))


ROC_METRICS = ("roc_auc", "roc_auc_ovr_weighted")
SCORES: dict[str, Callable[[Scores, Array], Array]] = {
    "roc_auc": roc_auc,
    "roc_auc_ovr_weighted": roc_auc_ovr_weighted,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "brier_score_loss": brier_score_loss,
    "calibration_slope": calibration_slope,
    "calibration_intercept": calibration_intercept,
    "calibration_error": calibration_error,
}


def compute_scores(
    scores: Scores, names: Iterable[str], weights: Array | None = None
) -> dict[str, Array]:
    """Compute each named metric for every column of `weights` [n, R] (all 1 if None): [R]."""
    if weights is None:
        weights = np.ones((len(scores.truth), 1))
    return {name: SCORES[name](scores, weights) for name in names}


def _from_zero(rows: Array) -> Array:
    """Sum down the rows, beginning with 0: [m + 1, R]."""
    out = np.zeros((len(rows) + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=out[1:])
    return out


def _sums(member: npt.NDArray[np.int64], values: Array, units: int) -> Array:
    return np.asarray(np.bincount(member, values, units), dtype=np.float64)


def _divide(top: Array, bottom: Array, empty: float = np.nan) -> Array:
    out = np.full(np.broadcast(top, bottom).shape, empty)
    np.divide(top, bottom, out=out, where=bottom > 0)
    return out


def _mean(values: Array, weights: Array) -> Array:
    return _divide(values @ weights, weights.sum(0))


def logit_of(share: Array) -> Array:
    """Give the logit of shares, those of 0 and 1 moved inside by a billionth."""
    small = 1e-9
    inside = np.clip(share, small, 1 - small)
    return np.log(inside / (1 - inside))

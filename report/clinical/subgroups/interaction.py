"""One test of whether a metric differs between subgroups, whose variances may differ.

Subgroups are of other patients, or of other images of the same ones (lesions of one patient at two
sites); few of them may be small, and an estimate may be as high as it can be. Labels of subgroups
are not permuted: that would test whether subgroups have the same variance, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from frostline.report.statistics.intervals.estimates import df_factor, estimate
from frostline.report.statistics.metrics import (
    OWN_METRICS,
    Array,
    Codes,
    compute_metrics,
    of_probabilities,
)
from frostline.report.statistics.own_metrics import Answers
from frostline.report.statistics.resampling.jackknife import pseudo_contributions
from frostline.report.statistics.resampling.seeds_variance import group_variance
from frostline.report.statistics.resampling.units import block_sizes, leave_out
from frostline.report.statistics.resampling.weights import effective_number, unit_weights
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import Scores

# Units of the whole that each subgroup is given, so that no variance is 0.
ADDED = 1.0
BLOCK_CELLS = 4_000_000


@dataclass(frozen=True)
class Interaction:
    """What the test of a column found.

    Attributes
    ----------
    statistic, df, df_error, p : float
        F, its degrees of freedom, and its p; NaN where nothing was tested.
    reason : str
        Why nothing was tested; "" where it was.
    """

    statistic: float = float("nan")
    df: float = float("nan")
    df_error: float = float("nan")
    p: float = float("nan")
    reason: str = ""


@dataclass(frozen=True)
class Part:
    """A metric of some rows, and what each unit contributes to it.

    Attributes
    ----------
    estimate : float
    shares : float64 [G]
        Of each unit of the whole, so that the sum of their squares is the variance over units, and
        their products with another part's are the covariance; 0 of units without rows here.
    weights : float64 [G]
        The share of the metric that rests on each unit.
    df : float
        Degrees of freedom of that variance (`group_variance`).
    """

    estimate: float
    shares: Array
    weights: Array
    df: float

    @property
    def variance(self) -> float:
        """The variance over units."""
        return float(self.shares @ self.shares)

    @property
    def effective(self) -> float:
        """How many equal units these are worth."""
        return float(effective_number(self.weights, np.ones(len(self.weights), dtype=np.int64)))


def make_part(sample: Sample, metric: str, member: Codes, units: int) -> Part | None:
    """Compute what each unit contributes; None where the metric is undefined without one of them.

    The jackknife's pseudo-values (Tukey 1958), as in the intervals.

    Parameters
    ----------
    sample : Sample
        The rows.
    member : int64 [n]
        The unit of each row, of `units` in all.
    """
    there, own = np.unique(member, return_inverse=True)
    centre = estimate(sample, [metric])[metric] if metric not in OWN_METRICS else np.nan
    values, images = _left_out(sample, metric, own.astype(np.int64), len(there))
    if metric in OWN_METRICS:
        centre = _answers(sample).score(metric)
    if len(there) < 2 or np.isnan(centre) or np.isnan(values).any():
        return None
    ones = np.ones(len(there), dtype=np.int64)
    weights = unit_weights(metric, sample.classes, images, ones)
    residuals, weights = pseudo_contributions(values, weights, ones)
    variance, df = group_variance(residuals, weights, ones, factor=df_factor(metric, sample))
    if np.isnan(variance):
        return None
    total = float(residuals @ residuals)
    scale = (variance / total) ** 0.5 if total > 0 else 0.0
    shares, rests = np.zeros(units), np.zeros(units)
    shares[there], rests[there] = residuals * scale, weights / weights.sum()
    return Part(float(centre), shares, rests, df)


def find_interaction(
    parts: Sequence[Part], whole: Part, scale: tuple[float, float] | None
) -> Interaction:
    """Test whether a metric is the same in all parts: F of an approximate Hotelling's T².

    The variances and covariances of the parts are those of their units' pseudo-values. T² of all
    contrasts has the law of Hotelling's with degrees of freedom η that match the variance of the
    estimated covariances (Zhang 2012, "An approximate Hotelling T² test for heteroscedastic one-way
    MANOVA"; of clustered data: Tipton and Pustejovsky 2015, section 3.2); of two parts this is
    Welch's (1947) t. Bounded metrics are compared on the logit scale, losses on the log scale, as
    in their intervals. Each part is given `ADDED` units more that are as the whole: so a part
    without an error, whose own variance is 0, has one, and differences shrink a little.

    Parameters
    ----------
    parts : sequence of Part
        Of each subgroup.
    whole : Part
        Of all rows of the subgroups together.
    scale : (float, float) or None
        The lowest and the highest value of the metric (`jackknife_scale`).
    """
    if len(parts) < 2:
        return Interaction(reason="fewer than two subgroups are large enough")
    if scale is not None and np.isclose(whole.estimate, scale, rtol=0, atol=1e-12).any():
        return Interaction(reason="no image is wrong, or all are")
    given = [_with_added(part, whole) for part in parts]
    shrunk, added = [part for part, _ in given], np.array([more for _, more in given])
    values, slopes = _on_scale(np.array([part.estimate for part in shrunk]), scale)
    shares = np.stack([part.shares for part in shrunk], axis=1) * slopes
    covariance = shares.T @ shares + np.diag(added * slopes**2)
    contrasts = np.eye(len(parts))[1:] - np.eye(len(parts))[0]
    inner = contrasts @ covariance @ contrasts.T
    if not np.isfinite(inner).all() or np.linalg.matrix_rank(inner) < len(inner):
        return Interaction(reason="the subgroups do not vary")
    form = contrasts.T @ np.linalg.solve(inner, contrasts)
    q = len(parts) - 1
    eta = _wishart_df(form, covariance, parts)
    df_error = max(eta - q + 1, 1.0)
    statistic = float(values @ form @ values) * df_error / (eta * q)
    from scipy.special import fdtrc

    return Interaction(statistic, float(q), df_error, float(fdtrc(q, df_error, statistic)))


def holm(p: Array) -> Array:
    """Adjust p-values for one family (Holm 1979); NaN are no tests of it: [M]."""
    out, known = np.full(len(p), np.nan), np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def _with_added(part: Part, whole: Part) -> tuple[Part, float]:
    """Give a part with `ADDED` units of the whole, and the variance that they add."""
    units, total = part.effective, part.effective + ADDED
    centre = (units * part.estimate + ADDED * whole.estimate) / total
    of_one = whole.variance * whole.effective
    shrunk = replace(part, estimate=centre, shares=part.shares * units / total)
    return shrunk, ADDED * of_one / total**2


def _on_scale(values: Array, scale: tuple[float, float] | None) -> tuple[Array, Array]:
    """Give values on the scale of their intervals, and the slope of that scale there."""
    if scale is None:
        return values, np.ones(len(values))
    lowest, highest = scale
    if np.isinf(highest):
        return np.log(values), 1 / values
    share = (values - lowest) / (highest - lowest)
    return np.log(share / (1 - share)), 1 / (highest - lowest) / (share * (1 - share))


def _wishart_df(form: Array, covariance: Array, parts: Sequence[Part]) -> float:
    """Match the variance of the estimated covariance of all contrasts by a Wishart's.

    A unit is taken to add to each covariance by its share of the metric; of equal units of one part
    each this gives η = q (q + 1) / (2 Σ (1 - w / Σw)² / df), of the weights w = 1 / variance, and
    of the same units in all parts their number less one.
    """
    q = len(parts) - 1
    weights = np.stack([part.weights for part in parts], axis=1)
    inflated = [max(part.effective / part.df, 1.0) ** 0.25 for part in parts]
    roots = np.sqrt(weights) * np.array(inflated)
    plain = np.sqrt(weights)
    overlap = plain.T @ plain
    per = np.divide(covariance, overlap, out=np.zeros_like(covariance), where=overlap > 0)
    total, start = 0.0, 0
    for size in block_sizes(len(roots), BLOCK_CELLS // len(parts) ** 2):
        block = roots[start : start + size]
        own = form @ (per * block[:, :, None] * block[:, None, :])
        total += float(np.einsum("igh,ihg->", own, own))
        total += float((np.trace(own, axis1=1, axis2=2) ** 2).sum())
        start += size
    return q * (q + 1) / total


def _left_out(
    sample: Sample, metric: str, member: Codes, units: int
) -> tuple[Array, tuple[Codes, Codes]]:
    """Compute a metric without each unit [G], and count each unit's images by class: [G, K] twice.

    They are those of each class, and those that were called it; of metrics of probabilities the
    classes twice.
    """
    k = len(sample.classes)
    cells = np.bincount(member * k + sample.truth, minlength=units * k).reshape(units, k)
    if metric in OWN_METRICS:
        answers = _answers(sample)
        rows = (np.flatnonzero(member != unit) for unit in range(units))
        return np.array([answers.score_rows(metric, one) for one in rows]), (cells, cells)
    if of_probabilities(metric):
        assert sample.probs is not None
        scores = Scores(sample.truth, np.ascontiguousarray(sample.probs))
        return leave_out(scores, member, units, metric), (cells, cells)
    called = np.bincount(member * k + sample.prediction, minlength=units * k).reshape(units, k)
    order = np.argsort(member, kind="stable")
    flat = (sample.truth * k + sample.prediction)[order]
    parts, start = [], 0
    for size in block_sizes(units, BLOCK_CELLS // k**2):
        first, last = np.searchsorted(member[order], [start, start + size])
        cell = (member[order][first:last] - start) * k * k + flat[first:last]
        matrices = np.bincount(cell, minlength=size * k * k).reshape(size, k, k)
        left = compute_metrics(sample.confusion - matrices, [metric], sample.classes)[metric]
        parts.append(np.asarray(left))
        start += size
    return np.concatenate(parts), (cells, called)


def _answers(sample: Sample) -> Answers:
    names = np.array(sample.classes, dtype=object)
    return Answers(names[sample.truth], names[sample.prediction], sample.probs)

"""Estimates, bootstrap replicates and leave-one-out values of any metrics of a sample.

Metrics of the confusion matrix go by kinds, metrics of probabilities by weights; callers need not
know which is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.metrics import Array, compute_metrics, of_probabilities
from frostline.report.statistics.resampling.bootstrap import bootstrap_confusions
from frostline.report.statistics.resampling.units import leave_out_scores, replicate_scores
from frostline.report.statistics.resampling.weights import unit_weights
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import compute_scores


@dataclass(frozen=True)
class Draws:
    """How to resample: how often, by which seed, within classes or over all units."""

    replicates: int
    seed: int = 0
    stratified: bool = False

    def generator(self) -> np.random.Generator:
        """Make a fresh generator of the seed, so that no metric's numbers depend on another's."""
        return np.random.default_rng(self.seed)


def estimate(sample: Sample, names: Sequence[str]) -> dict[str, float]:
    """Compute the metrics of the sample itself."""
    counted, scored = _by_need(names)
    values = compute_metrics(sample.confusion, counted, sample.classes)
    if scored:
        values |= {k: v[0] for k, v in compute_scores(sample.units.scores, scored).items()}
    return {name: float(values[name]) for name in names}


def replicate(sample: Sample, names: Sequence[str], draws: Draws) -> dict[str, Array]:
    """Draw bootstrap replicates of the metrics: each [replicates]."""
    counted, scored = _by_need(names)
    values: dict[str, Array] = {}
    if counted:
        drawn = bootstrap_confusions(
            sample.kinds, draws.replicates, draws.generator(), stratified=draws.stratified
        )
        values |= compute_metrics(drawn, counted, sample.classes)
    if scored:
        values |= replicate_scores(
            sample.units, scored, draws.replicates, draws.generator(), stratified=draws.stratified
        )
    return values


@dataclass(frozen=True)
class LeftOut:
    """A metric without each unit.

    Attributes
    ----------
    values : float64 [U]
        The metric without one unit of each kind; NaN where it is undefined.
    weights : float64 [U]
        How much of the metric rests on a unit of each kind: see `unit_weights`.
    counts : int64 [U]
        How many units are of each kind.
    factor : float
        See `df_factor`.
    """

    values: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    factor: float = np.inf


def leave_out(sample: Sample, names: Sequence[str]) -> dict[str, LeftOut]:
    """Compute each metric with one unit left out.

    Units of one kind leave the same behind, so that each kind is computed once.
    """
    counted, scored = _by_need(names)
    matrices, counts = sample.kinds.matrices, sample.kinds.counts
    values = {}
    images = matrices.sum(-1), matrices.sum(-2)
    for name, left in compute_metrics(sample.confusion - matrices, counted, sample.classes).items():
        weights = unit_weights(name, sample.classes, images, counts)
        values[name] = LeftOut(left, weights, counts, df_factor(name, sample))
    if scored:
        by_class = sample.units.class_images
        ones = np.ones(len(by_class), dtype=np.int64)
        for name, left in leave_out_scores(sample.units, scored).items():
            weights = unit_weights(name, sample.classes, (by_class, by_class), ones)
            values[name] = LeftOut(left, weights, ones, df_factor(name, sample))
    return values


def df_factor(name: str, sample: Sample) -> float:
    """Say how the degrees of freedom of unequal units are bounded: `group_variance`.

    2, by the moments of Σr², whose variance is about Σr⁴ (Satterthwaite 1946). 1 of metrics of
    probabilities, which hang on the few units that were badly wrong: by simulation. Endless where
    units are equal.
    """
    if np.isclose(sample.effective_units, sample.n_units):
        return np.inf
    return 1.0 if of_probabilities(name) else 2.0


def _by_need(names: Sequence[str]) -> tuple[list[str], list[str]]:
    scored = [name for name in names if of_probabilities(name)]
    return [name for name in names if name not in scored], scored

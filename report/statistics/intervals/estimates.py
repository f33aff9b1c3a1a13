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
from frostline.report.statistics.sample import Sample
from frostline.report.statistics.scores import compute_scores


@dataclass(frozen=True)
class Draws:
    """How to resample: how often, by which seed, within classes or over all units."""

    replicates: int
    seed: int = 0
    stratified: bool = False

    def generator(self) -> np.random.Generator:
        """A fresh generator of the seed, so that no metric's numbers depend on another's."""
        return np.random.default_rng(self.seed)


def estimate(sample: Sample, names: Sequence[str]) -> dict[str, float]:
    """The metrics of the sample itself."""
    counted, scored = _by_need(names)
    values = compute_metrics(sample.confusion, counted, sample.classes)
    if scored:
        values |= {k: v[0] for k, v in compute_scores(sample.units.scores, scored).items()}
    return {name: float(values[name]) for name in names}


def replicate(sample: Sample, names: Sequence[str], draws: Draws) -> dict[str, Array]:
    """Bootstrap replicates of the metrics: each [replicates]."""
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


def leave_out(
    sample: Sample, names: Sequence[str]
) -> dict[str, tuple[Array, npt.NDArray[np.int64]]]:
    """Each metric with one unit left out, and how many units have that value.

    Units of one kind leave the same behind, so that each kind is computed once.
    """
    counted, scored = _by_need(names)
    kinds, values = sample.kinds, {}
    remaining = sample.confusion - kinds.matrices
    for name, left in compute_metrics(remaining, counted, sample.classes).items():
        values[name] = left, kinds.counts
    if scored:
        for name, left in leave_out_scores(sample.units, scored).items():
            values[name] = left, np.ones(len(left), dtype=np.int64)
    return values


def _by_need(names: Sequence[str]) -> tuple[list[str], list[str]]:
    scored = [name for name in names if of_probabilities(name)]
    return [name for name in names if name not in scored], scored

"""Several runs on the same images: joint tables, and what is left without a unit.

What a comparison needs of an image is its class and what each run called it: a cell of the joint
table truth x A x B x … A unit's content is its counts of these cells, units with equal contents are
one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from frostline.cache.errors import InputError
from frostline.report.statistics.comparisons.paired_rows import (
    PairedOwn,
    PairedRows,
    PairedScores,
    make_paired_scores,
)
from frostline.report.statistics.metrics import (
    OWN_METRICS,
    Array,
    Codes,
    compute_metrics,
    find_metric,
    of_rows,
)
from frostline.report.statistics.resampling.bootstrap import unit_contents


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
    own : PairedOwn or None
        What a user's own metric is compared by.
    """

    matrices: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    rows: tuple[Codes, Sequence[Array], Codes | None] | None = None
    own: PairedOwn | None = None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.counts.sum())

    @property
    def totals(self) -> npt.NDArray[np.int64]:
        """Confusion matrix of each run: [M, K, K]."""
        return np.asarray(np.tensordot(self.counts, self.matrices, axes=1))

    def estimates(self, metric: str) -> Array:
        """Compute the metric of each run: [M]."""
        if of_rows(metric):
            return self.by_rows(metric).estimates(metric)
        return self.values(metric, self.totals)

    def contents(self, metric: str) -> list[Hashable]:
        """Give what a metric sees of each run: equal for runs that are identical to it."""
        assert self.own is not None
        return self.own.contents(metric)

    def by_rows(self, metric: str) -> PairedRows:
        """Give what a metric of rows is computed from: probabilities, or a user's function."""
        if metric in OWN_METRICS:
            assert self.own is not None
            return self.own
        if self.rows is None:
            raise InputError(
                f"{find_metric(metric).title} needs probabilities, and not every run has them "
                "(a vote over images has none): compare by another metric."
            )
        return self._scores

    @cached_property
    def _scores(self) -> PairedScores:
        assert self.rows is not None
        return make_paired_scores(*self.rows)

    def images(self, metric: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Count the images of each unit by class, and by what each run called them: [U, M, K].

        A metric of rows does not see what they were called: the classes twice.
        """
        if not of_rows(metric):
            return self.matrices.sum(-1), self.matrices.sum(-2)
        rows = self.by_rows(metric)
        by_class = np.repeat(rows.class_images()[:, None], rows.n_runs, axis=1)
        return by_class, by_class

    def unit_counts(self, metric: str) -> npt.NDArray[np.int64]:
        """Say how many units each row of `images` and of left-out values stands for: [U]."""
        if not of_rows(metric):
            return self.counts
        return np.ones(self.by_rows(metric).n_units, dtype=np.int64)

    def values(self, metric: str, confusions: npt.NDArray[np.generic]) -> Array:
        """Compute the metric of confusion matrices [..., K, K]."""
        return compute_metrics(confusions, [metric], self.classes)[metric]

    def differing(self, a: int, b: int) -> npt.NDArray[np.bool_]:
        """Mark the kinds of units that runs `a` and `b` scored differently: [U]."""
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


def leave_out_values(
    paired: Paired, metric: str, step: Callable[[], None] = lambda: None
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Leave out each unit: every run's metric [M, U], and how many units have that value [U].

    `step` is called after each run.
    """
    counts = paired.unit_counts(metric)
    if of_rows(metric):
        return paired.by_rows(metric).left_out(metric, step), counts
    for _ in range(paired.matrices.shape[1]):
        step()
    return paired.values(metric, paired.totals - paired.matrices).T, counts

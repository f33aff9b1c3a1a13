"""What the test of a difference is made of: what each unit contributes to a metric of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frostline.report.statistics.comparisons.paired import Paired, leave_out_values
from frostline.report.statistics.metrics import Array, absolute_errors, metric_range, of_rows
from frostline.report.statistics.resampling.jackknife import pseudo_contributions
from frostline.report.statistics.resampling.seeds_variance import (
    NEGLIGIBLE,
    SeedsPart,
    SeedsTest,
    add_parts,
    group_variance,
    seeds_part,
    seeds_test,
)
from frostline.report.statistics.resampling.weights import class_number, unit_weights

Step = Callable[[], None]
# The places of the runs of methods a and b, one a seed.
Pair = tuple[slice, slice]


def no_step() -> None:
    """Do nothing after a step."""


@dataclass(frozen=True)
class Contributions:
    """Residuals and weights of the kinds of units, for each run.

    Attributes
    ----------
    residuals : float64 [U, M]
        Of a metric that is a mean over images, the sum over a unit's images less the metric times
        their number; of any other, the unit's jackknife pseudo-value (Tukey 1958), centred. They
        sum to 0 over units. NaN where the metric is undefined without a unit.
    weights : float64 [U, M]
        How much of the metric rests on a unit: see `unit_weights`.
    counts : int64 [U]
        How many units are of each kind.
    exact : bool
        Whether the metric is a mean over images: a difference that is the same in every unit is
        then evidence, where of pseudo-values it only says that leaving out one changes nothing.
    step : float
        How far the smallest unit moves the metric; 0 of a metric that is no share.
    """

    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    exact: bool = False
    step: float = 0.0

    @property
    def shares(self) -> Array:
        """Residuals over the sum of weights; NaN of a class that no unit is of."""
        total = self.counts @ self.weights
        return self.residuals / np.where(total > 0, total, np.nan)


@dataclass(frozen=True)
class Contrast:
    """A pair of methods: what units contribute to their difference, and what seeds add.

    Attributes
    ----------
    pair : (slice, slice)
        The places of their runs.
    difference : float
        The mean over the seeds of a, less that of b.
    residuals, weights : float64 [U]
        Of the difference, as in `Contributions`.
    counts : int64 [U]
    variance, df : float
        Of the difference, between groups: see `group_variance`.
    seeds : SeedsPart or None
        What seeds add; None where none of a method answers otherwise than another.
    """

    pair: Pair
    difference: float
    residuals: Array
    weights: Array
    counts: npt.NDArray[np.int64]
    variance: float
    df: float
    seeds: SeedsPart | None

    @property
    def single(self) -> bool:
        """Whether each method has one seed."""
        return all(part.stop - part.start == 1 for part in self.pair)

    @property
    def seeds_vary(self) -> bool:
        """Whether seeds have a variance."""
        return self.seeds is not None and self.seeds.whole > 0

    @property
    def test(self) -> SeedsTest:
        """Student's t of groups and seeds."""
        return seeds_test(self.difference, (self.variance, self.df), self.seeds)

    @property
    def of_groups(self) -> SeedsTest:
        """Student's t of groups alone."""
        return seeds_test(self.difference, (self.variance, self.df), None)

    @property
    def error(self) -> float:
        """Standard error from groups and seeds."""
        return self.test.error

    @property
    def seed_error(self) -> float:
        """What seeds add to the standard error from groups; NaN where no seed answers otherwise."""
        return float("nan") if self.seeds is None else self.seeds.error(self.variance)


def contrast(made: Contributions, values: Array, pair: Pair, seeds: Sequence[object]) -> Contrast:
    """Put together what units and seeds say of the difference of two methods.

    Two methods with the same seeds are compared seed by seed, as modalities are reader by reader
    (Obuchowski and Rockette 1995): what a seed does to both, such as the images that it leaves to
    train on, is no difference of theirs. Seeds of other methods are taken to be independent.

    Parameters
    ----------
    made : Contributions
        Of all runs.
    values : float64 [M]
        Their metric.
    pair : (slice, slice)
        The places of the runs of both.
    seeds : sequence of M
        The name of the seed of each run.
    """
    a, b = pair
    weights = (made.weights[:, a].mean(1) + made.weights[:, b].mean(1)) / 2
    residuals = made.residuals[:, a].mean(1) - made.residuals[:, b].mean(1)
    part = _seeds_of(made, values, pair, seeds)
    difference = float(values[a].mean() - values[b].mean())
    rounding = NEGLIGIBLE * np.abs(np.concatenate([values[a], values[b]])).max()
    found = Contrast(
        pair,
        0.0 if abs(difference) <= rounding else difference,
        residuals,
        weights,
        made.counts,
        *group_variance(residuals, weights, made.counts),
        part,
    )
    if found.error > rounding:
        return found
    # Nothing but rounding, or undefined.
    none = None if part is None else SeedsPart(0.0, 0.0, part.df)
    return replace(found, variance=0.0 * found.variance, seeds=none)


def _seeds_of(
    made: Contributions, values: Array, pair: Pair, seeds: Sequence[object]
) -> SeedsPart | None:
    """Compute what seeds add to a difference."""
    shares = made.shares
    one, other = ({seeds[i]: i for i in range(part.start, part.stop)} for part in pair)
    runs = [part.stop - part.start for part in pair]
    if one.keys() == other.keys() and [len(one), len(other)] == runs and len(one) > 1:
        a, b = np.array([(i, other[name]) for name, i in one.items()]).T
        apart = values[a] - values[b], shares[:, a] - shares[:, b]
        return seeds_part(*apart, made.counts, made.step)
    parts = [seeds_part(values[part], shares[:, part], made.counts, made.step) for part in pair]
    return add_parts([part for part in parts if part is not None])


def contributions(paired: Paired, metric: str, step: Step = no_step) -> Contributions:
    """Compute what each kind of unit contributes to the metric of each run; `step` after each run.

    Kinds are in an order that does not depend on that of the runs, so that comparing a with b draws
    the same as comparing b with a.
    """
    made = _contributions(paired, metric, step)
    about = (np.sort(made.residuals, axis=1), np.sort(made.weights, axis=1), made.counts[:, None])
    order = np.lexsort(np.round(np.concatenate(about, axis=1), 9).T)
    moved = 0.0
    total = made.counts @ made.weights
    if metric_range(metric, paired.classes) is not None and (total > 0).any():
        smallest = np.where(made.weights > 0, made.weights, np.inf).min(0)
        moved = float((smallest[total > 0] / total[total > 0]).max())
    parts = made.residuals[order], made.weights[order], made.counts[order]
    return Contributions(*parts, made.exact, moved)


def _contributions(paired: Paired, metric: str, step: Step) -> Contributions:
    values, counts = paired.estimates(metric), paired.unit_counts(metric)
    weights = unit_weights(metric, paired.classes, paired.images(metric), counts)
    sums = _sums_of_mean(paired, metric, weights)
    if sums is not None:
        for _ in values:
            step()
        return Contributions(sums - values * weights, weights, counts, exact=True)
    left, _ = leave_out_values(paired, metric, step)
    return Contributions(*pseudo_contributions(left.T, weights, counts), counts)


def _sums_of_mean(paired: Paired, metric: str, weights: Array) -> Array | None:
    """Give the sums over units of a metric that is a mean over images; None of any other."""
    if of_rows(metric):
        return paired.by_rows(metric).sums(metric)
    right = np.diagonal(paired.matrices, axis1=-2, axis2=-1)
    number = class_number(metric, paired.classes)
    if metric == "accuracy":
        return right.sum(-1).astype(np.float64)
    if metric == "mean_absolute_error":
        return absolute_errors(paired.matrices.astype(np.float64))
    if number is not None and metric.startswith("recall["):
        return right[..., number].astype(np.float64)
    if number is not None and metric.startswith("specificity["):
        wrongly = paired.matrices[..., number].sum(-1) - right[..., number]
        return np.asarray(weights - wrongly)
    return None

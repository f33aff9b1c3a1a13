"""The difference of two methods on the same images, over all their seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frostline.report.notes import Note, Notes
from frostline.report.statistics.comparisons.align import align
from frostline.report.statistics.comparisons.comparison import ALPHA, equivalence_p, few_differ_p
from frostline.report.statistics.comparisons.paired import (
    Paired,
    leave_out_values,
    swap_p_values,
    swap_units,
)
from frostline.report.statistics.evaluation import Scored, place_notes
from frostline.report.statistics.intervals import TAIL
from frostline.report.statistics.metrics import find_metric, of_probabilities
from frostline.report.statistics.resampling.replicates import jackknife_error

NOT_THE_METHODS = Note("One seed: these trained models, not the methods.")


@dataclass(frozen=True)
class Difference:
    """Method `a` minus method `b`, each the mean over its seeds, with a paired 95% interval.

    `group_error` is the standard error from patients, `seed_error` that from seeds (NaN where
    neither method has a second seed); `p` is two-sided.
    """

    estimate_a: float
    estimate_b: float
    difference: float
    low: float
    high: float
    p: float
    test: str
    equivalence_p: float
    group_error: float
    seed_error: float
    df: float
    seeds_a: int
    seeds_b: int
    n_units: int
    n_images: int
    unit: str
    notes: Notes


def compare_methods(
    a: Sequence[Scored],
    b: Sequence[Scored],
    metric: str,
    *,
    margin: float | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two methods, each with one run a seed.

    The variance is that between patients of the difference of means (delete-one-group jackknife,
    paired) plus s² / S of each method's seeds, with Satterthwaite's (1946) degrees of freedom.
    With one seed each, p is of swapping the two runs' predictions of whole groups, and the result
    is of these trained models; with more, p is of Student's t, as swaps know nothing of seeds.

    Raises
    ------
    InputError
        If the runs cannot be paired (`align`).
    """
    aligned = align([*a, *b])
    paired = aligned.paired
    values = paired.estimates(metric)
    left, counts = leave_out_values(paired, metric)
    of_a, of_b = slice(0, len(a)), slice(len(a), len(a) + len(b))
    error = jackknife_error(left[of_a].mean(0) - left[of_b].mean(0), counts)
    between = [float(values[part].var(ddof=1)) / size if size > 1 else np.nan
               for part, size in ((of_a, len(a)), (of_b, len(b)))]  # fmt: skip
    total, df = satterthwaite([error**2, *between], [paired.n_units, len(a), len(b)])
    centre = float(values[of_a].mean() - values[of_b].mean())
    # Where nothing varies, an interval of no width would claim what nobody knows.
    reach = _quantile(df) * total**0.5 if paired.n_units > 1 and total > 0 else np.nan
    if len(a) == len(b) == 1:
        rng = np.random.default_rng(seed)
        p = float(swap_p_values(swap_units(paired, metric, [(0, 1)], permutations, rng))[0][0])
        test = "swaps of whole groups" if aligned.unit == "group" else "swaps of images"
    else:
        p, test = t_p(centre, total**0.5, df), "Student's t"
    notes = list(aligned.notes)
    if total == 0 and paired.n_units > 1:
        notes.append(Note("Nothing varies between groups or seeds, so there is no interval."))
    if min(len(a), len(b)) == 1:
        notes.append(NOT_THE_METHODS)
    return Difference(
        float(values[of_a].mean()), float(values[of_b].mean()), centre, centre - reach,
        centre + reach, p, test,
        np.nan if margin is None else max(
            equivalence_p(centre, total**0.5, margin, df),
            few_differ_p(_differing(paired, len(a), metric), paired.n_units, margin)),
        error, float(np.sqrt(np.nansum(between))) if max(len(a), len(b)) > 1 else np.nan, df,
        len(a), len(b), paired.n_units, aligned.n_images, aligned.unit,
        place_notes(notes, metric, *(run for run, _ in (*a, *b))),
    )  # fmt: skip


def _differing(paired: Paired, first: int, metric: str) -> int:
    """Units in which a run of the one method differs from its counterpart of the other."""
    runs = paired.matrices.shape[1]
    pairs = [(a, b) for a in range(first) for b in range(first, runs)]
    if of_probabilities(metric):
        found = np.any([paired.probabilities(metric).differing(*pair) for pair in pairs], axis=0)
        return int(found.sum())
    return int(paired.counts @ np.any([paired.differing(*pair) for pair in pairs], axis=0))


def satterthwaite(variances: Sequence[float], sizes: Sequence[int]) -> tuple[float, float]:
    """Sum of variances and its degrees of freedom, (Σ v)² / Σ v² / (n - 1); NaN ones are unknown.

    Satterthwaite (1946); `sizes` are the numbers of units or seeds that each was taken from.
    """
    known = [(v, n) for v, n in zip(variances, sizes, strict=True) if not np.isnan(v)]
    total = sum(v for v, _ in known)
    parts = sum(v**2 / max(n - 1, 1) for v, n in known)
    return float(total), float(total**2 / parts) if parts > 0 else float("nan")


def t_p(difference: float, error: float, df: float) -> float:
    """Two-sided p of a difference by Student's t; 1 where nothing varies, so nothing is tested."""
    from scipy.special import stdtr

    if error == 0:
        return 1.0
    return float(2 * stdtr(df, -abs(difference) / error))


def verdict(difference: float, p: float, equivalence: float, metric: str) -> str:
    """Better or worse if the test says so, else equivalent within the margin, or undecided."""
    if p < ALPHA:
        return "better" if (difference > 0) == find_metric(metric).higher else "worse"
    return "equivalent" if equivalence < ALPHA else "undecided"


def _quantile(df: float) -> float:
    from scipy.special import stdtrit

    return 0.0 if np.isnan(df) else float(stdtrit(df, 1 - TAIL))

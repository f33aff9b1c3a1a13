"""Seeds and folds: what training again, or splitting again, adds to the uncertainty.

One trained model's interval is about that model. A method's score is the mean over its seeds, and
its variance has two parts: between patients, as always, and between seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.aligned import align
from frostline.report.statistics.comparisons.methods import Method, group_methods
from frostline.report.statistics.comparisons.paired import leave_out_values
from frostline.report.statistics.evaluation import RUN_COLUMNS, as_scored, place_notes
from frostline.report.statistics.intervals.bounds import TAIL
from frostline.report.statistics.intervals.estimates import estimate
from frostline.report.statistics.intervals.intervals import NO_INTERVAL, no_probabilities
from frostline.report.statistics.metrics import Array, check_metrics, find_metric, of_probabilities
from frostline.report.statistics.resampling.jackknife import jackknife_error, satterthwaite
from frostline.report.statistics.sample import Runs, Sample, Scored

ONE_SEED = Note("One seed: this trained model, not the method.")
SEED_COLUMNS = (
    *("run", *RUN_COLUMNS, "metric", "estimate", "low", "high", "group_error", "seed_error", "df"),
    *("n_seeds", "n_units", "n_images", "unit", "positive", "notes"),
)


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds or folds with its 95% interval.

    `group_error` is the standard error from patients, `seed_error` that from seeds (NaN of one).
    """

    estimate: float
    low: float
    high: float
    group_error: float
    seed_error: float
    df: float


def pool_seeds(values: Array, group_error: float, n_units: int) -> Pooled:
    """Average S seeds; variance = group variance of that mean + s² / S, Satterthwaite's t.

    The effective degrees of freedom of a sum of two variances (Satterthwaite 1946): (v + w)² /
    (v² / (G - 1) + w² / (S - 1)). Of one seed w is unknown, and the interval is of that model.

    Parameters
    ----------
    values : float64 [S]
        The metric of each seed.
    group_error : float
        Delete-one-group jackknife standard error of their mean.
    """
    centre, seeds = float(values.mean()), len(values)
    if seeds == 1:
        total, df = satterthwaite([group_error**2], [n_units])
        return _pooled(centre, total, df, group_error, float("nan"))
    between = float(values.var(ddof=1)) / seeds
    total, df = satterthwaite([group_error**2, between], [n_units, seeds])
    return _pooled(centre, total, df, group_error, between**0.5)


def pool_folds(values: npt.ArrayLike, test_share: float) -> Pooled:
    """Average over repeated cross-validation with Nadeau and Bengio's (2003) corrected variance.

    Folds share training data, so s² / J is too small; (1 / J + n_test / n_train) s² with t of
    J - 1 is their correction. Give differences between two methods on the same folds to compare.

    Parameters
    ----------
    values : float [J]
        A score, or a difference, of each of the J folds of all repetitions.
    test_share : float
        Share of the data that is test in a fold: 0.2 of five-fold cross-validation.
    """
    folds = np.asarray(values, dtype=np.float64)
    if len(folds) < 2:
        raise InputError("One fold alone shows no variation: give at least two.")
    if not 0 < test_share < 1:
        raise InputError(f"The test share {test_share} is not between 0 and 1: give a fraction.")
    variance = (1 / len(folds) + test_share / (1 - test_share)) * float(folds.var(ddof=1))
    return _pooled(float(folds.mean()), variance, len(folds) - 1, float("nan"), variance**0.5)


def over_seeds(
    predictions: Runs,
    *,
    metrics: Sequence[str] | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Pool runs that differ in their seed alone: one row a method and metric.

    `split`, `unit`, `aggregate`, `classes` and `positive` are those of `evaluate`.

    Returns
    -------
    DataFrame
        Columns `SEED_COLUMNS`; `run` is the first seed's. A method with one seed is labelled
        "One seed: this trained model, not the method."

    Raises
    ------
    InputError
        If seeds of a method have different test sets.
    """
    order: dict[str, Any] = {"classes": classes, "positive": positive}
    scored = as_scored(predictions, split=split, unit=unit, aggregate=aggregate, **order)
    methods = group_methods(scored, by_test_set=False)
    records = [record for method in methods for record in _pool_method(method, metrics)]
    return pd.DataFrame(records, columns=list(SEED_COLUMNS))


def over_folds(
    predictions: Runs,
    *,
    metrics: Sequence[str] | None = None,
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Pool the folds of repeated cross-validation: one row a method and metric.

    Each run is one repeat, with the column `fold` and `cv` in its metadata, as `sweep --cv` writes
    them; the score of every fold of every repeat is one value of `pool_folds`. `unit`, `aggregate`,
    `classes` and `positive` are those of `evaluate`.

    Returns
    -------
    DataFrame
        Columns `SEED_COLUMNS`; `n_seeds` counts folds, `seed_error` is the standard error from
        them, and `group_error` is unknown.

    Raises
    ------
    InputError
        If a run is not of a cross-validation.
    """
    kin: dict[tuple[str, ...], list[Scored]] = {}
    order: dict[str, Any] = {"classes": classes, "positive": positive}
    for item in as_scored(predictions, split="all", unit=unit, aggregate=aggregate, **order):
        run = item[0]
        if not run.meta.get("cv") or "fold" not in run.table:
            raise InputError(
                f"{run.run}: these are not folds of a cross-validation: give runs of `sweep --cv`, "
                "or pool by --over seeds."
            )
        # Folds differ a little in how many groups train.
        known = [
            str(run.meta.get(name))
            for name in RUN_COLUMNS
            if name not in ("candidates", "train_fraction")
        ]
        kin.setdefault((*known, str(run.meta["cv"]["folds"])), []).append(item)
    records = [record for family in kin.values() for record in _pool_repeats(family, metrics)]
    return pd.DataFrame(records, columns=list(SEED_COLUMNS))


def _pool_repeats(family: Sequence[Scored], metrics: Sequence[str] | None) -> list[dict[str, Any]]:
    run, sample = family[0]
    names = [
        name
        for name in check_metrics(metrics, sample.classes)
        if name not in NO_INTERVAL and not (of_probabilities(name) and sample.probs is None)
    ]
    sample.check_order(names, run.run)
    scores = [estimate(part, names) for item in family for part in _folds(*item)]
    about = {name: run.meta.get(name) for name in RUN_COLUMNS} | {
        "run": run.run,
        "n_seeds": len(scores),
        "n_units": sample.n_units,
        "n_images": sample.n_images,
        "unit": sample.unit,
    }
    share = 1 / int(run.meta["cv"]["folds"])
    owners = {run.run: [one.run for one, _ in family]}
    dataset = str(run.meta.get("dataset") or "")
    return [
        about
        | vars(pool_folds([one[name] for one in scores], share))
        | {
            "metric": name,
            "positive": sample.positive_of(name),
            "notes": place_notes(sample.notes, name, dataset, owners),
        }
        for name in names
    ]


def _folds(run: Predictions, sample: Sample) -> list[Sample]:
    """Take the rows of each fold; rows that are groups are in the fold of their images."""
    of_row: dict[str, int] = {}
    for column in ("group_id", "image_id"):
        folds = zip(run.table[column].map(str), run.table["fold"], strict=True)
        of_row |= {name: int(fold) for name, fold in folds}
    ids = np.arange(0) if sample.ids is None else sample.ids
    fold = np.array([of_row[str(name)] for name in ids.tolist()])
    return [_rows(sample, np.flatnonzero(fold == number)) for number in np.unique(fold)]


def _rows(sample: Sample, rows: npt.NDArray[np.int64]) -> Sample:
    return replace(
        sample,
        truth=sample.truth[rows],
        prediction=sample.prediction[rows],
        groups=None if sample.groups is None else sample.groups[rows],
        probs=None if sample.probs is None else sample.probs[rows],
    )


def _pool_method(method: Method, metrics: Sequence[str] | None) -> list[dict[str, Any]]:
    family, run = method.runs, method.runs[0][0]
    aligned = align(family)
    paired = aligned.paired
    names = [name for name in check_metrics(metrics, paired.classes) if name not in NO_INTERVAL]
    method.sample.check_order(names, run.run)
    about = {name: run.meta.get(name) for name in RUN_COLUMNS} | {
        "run": run.run,
        "n_seeds": len(family),
        "n_units": paired.n_units,
        "n_images": aligned.n_images,
        "unit": aligned.unit,
    }
    # The row stands for all seeds, and is named by the first.
    owners = {run.run: [one.run for one, _ in family]}
    notes = [*aligned.notes]
    notes += [ONE_SEED] if len(family) == 1 else []
    records = []
    for name in names:
        silent = of_probabilities(name) and paired.rows is None
        said = [*notes, no_probabilities(name)] if silent else notes
        about |= {"metric": name, "notes": place_notes(said, name, method.dataset, owners)}
        about |= {"positive": method.sample.positive_of(name)}
        if silent:
            records.append(dict(about))
            continue
        left, counts = leave_out_values(paired, name)
        error = jackknife_error(left.mean(0), counts)
        pooled = pool_seeds(paired.estimates(name), error, paired.n_units)
        # Student's t knows nothing of where a metric ends.
        lowest, highest = find_metric(name).bounds or (-np.inf, np.inf)
        ends = {"low": max(pooled.low, lowest), "high": min(pooled.high, highest)}
        records.append(about | vars(pooled) | ends)
    return records


def _pooled(centre: float, variance: float, df: float, group: float, seeds: float) -> Pooled:
    from scipy.special import stdtrit

    reach = float(stdtrit(df, 1 - TAIL)) * variance**0.5
    return Pooled(centre, centre - reach, centre + reach, group, seeds, float(df))

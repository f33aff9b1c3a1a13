"""Seeds and folds: what training again, or splitting again, adds to the uncertainty.

One trained model's interval is about that model. A method's score is the mean over its seeds, and
its variance has two parts: between patients, as always, and between seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.aligned import Aligned, align
from frostline.report.statistics.comparisons.contributions import contributions
from frostline.report.statistics.comparisons.differences import ONE_REPEAT, ONE_SEED
from frostline.report.statistics.comparisons.methods import Method, group_methods
from frostline.report.statistics.evaluation import RUN_COLUMNS, as_scored, place_notes
from frostline.report.statistics.intervals.bounds import (
    AT_BOUND,
    at_bound,
    jackknife_scale,
    t_bounds,
)
from frostline.report.statistics.intervals.estimates import df_factor, estimate
from frostline.report.statistics.intervals.flags import exact_trials, flag, unknown
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import (
    NO_INTERVAL,
    clopper_pearson,
    compute_intervals,
    no_probabilities,
)
from frostline.report.statistics.intervals.reasons import (
    TOO_FEW,
    UNVARYING,
    says_nothing,
    undefined,
)
from frostline.report.statistics.metrics import check_metrics, metric_range, of_probabilities
from frostline.report.statistics.names import OUT_OF_FOLD, again_word
from frostline.report.statistics.resampling.seeds_variance import (
    NEGLIGIBLE,
    SeedsTest,
    group_variance,
    seeds_part,
    seeds_test,
)
from frostline.report.statistics.sample import Runs, Sample, Scored

NAN = float("nan")
JACKKNIFE = "jackknife-t"
POOLED = "jackknife-t of the mean"
NO_FOLD = "No value: undefined in a {unit}."
ALIKE_FOLDS = "No interval: nothing varies between {unit}s."
SEED_COLUMNS = (
    *("run", *RUN_COLUMNS, "metric", "estimate", "low", "high", "group_error", "seed_error", "df"),
    *("n_seeds", "n_units", "n_images", "unit", "split", "method", "replicates", "positive"),
    "notes",
)


@dataclass(frozen=True)
class Pooled:
    """A mean over seeds or folds with its 95% interval.

    `group_error` is the standard error from patients, `seed_error` what seeds add to it (NaN of
    one); `df` is NaN where the interval is no Student's t.
    """

    estimate: float
    low: float
    high: float
    group_error: float
    seed_error: float
    df: float


def pool_folds(
    values: npt.ArrayLike, test_share: float, scale: tuple[float, float] | None = None
) -> Pooled:
    """Average over repeated cross-validation with Nadeau and Bengio's (2003) corrected variance.

    Folds share training data, so s² / J is too small; (1 / J + n_test / n_train) s² with t of
    J - 1 is their correction. Give differences between two methods on the same folds to compare.

    Parameters
    ----------
    values : float [J]
        A score, or a difference, of each of the J folds of all repetitions.
    test_share : float
        Share of the data that is test in a fold: 0.2 of five-fold cross-validation.
    scale : (float, float), optional
        Lowest and highest value of a score, as `jackknife_scale` gives them: the interval is then
        on the logit (or log) scale, and no end beyond them; NaN where it `says_nothing`.
    """
    folds = np.asarray(values, dtype=np.float64)
    if len(folds) < 2:
        raise InputError("One fold alone shows no variation: give at least two.")
    if not 0 < test_share < 1:
        raise InputError(f"The test share {test_share} is not between 0 and 1: give a fraction.")
    variance = (1 / len(folds) + test_share / (1 - test_share)) * float(folds.var(ddof=1))
    centre, error, df = float(folds.mean()), variance**0.5, len(folds) - 1
    if error <= NEGLIGIBLE * abs(centre):  # nothing but rounding
        error = 0.0
    known = error > 0 or scale is None
    low, high = t_bounds(centre, error, df, scale) if known else (NAN, NAN)
    if scale is not None and says_nothing(low, high, scale):
        low = high = NAN
    return Pooled(centre, low, high, NAN, error, float(df))


def over_seeds(
    predictions: Runs,
    *,
    metrics: Sequence[str] | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    ci: str = "auto",
    replicates: int | None = None,
    seed: int = 0,
    stratified: bool = False,
) -> pd.DataFrame:
    """Pool runs that differ in their seed alone: one row a method and metric.

    Student's t on the scale of jackknife-t; its variance is that of groups, of seeds, and of their
    interaction once (`seeds_test`), its quantile Cochran and Cox's (`SeedsTest.mean_df`). Where
    seeds gave the same predictions, and of one seed, there is nothing to pool, and the interval is
    what `evaluate` gives.

    Parameters
    ----------
    split, unit, aggregate, classes, positive
        As in `evaluate`.
    ci, replicates, seed, stratified
        Those of `evaluate`, where the interval is what `evaluate` gives.

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
    options: dict[str, Any] = {
        "ci": ci,
        "replicates": replicates,
        "seed": seed,
        "stratified": stratified,
    }
    records = [row for method in methods for row in _pool_method(method, metrics, options)]
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
        family = kin.setdefault((*known, str(run.meta["cv"]["folds"])), [])
        if any(one.meta.get("seed") == run.meta.get("seed") for one, _ in family):
            raise InputError(
                f"{run.run}: this repeat of the cross-validation is given twice: give each once."
            )
        family.append(item)
    records = [record for family in kin.values() for record in _pool_repeats(family, metrics)]
    return pd.DataFrame(records, columns=list(SEED_COLUMNS))


def _pool_repeats(family: Sequence[Scored], metrics: Sequence[str] | None) -> list[dict[str, Any]]:
    run, sample = family[0]
    names = [
        name
        for name in check_metrics(metrics, sample.classes)
        if not (of_probabilities(name) and sample.probs is None)
    ]
    sample.check_order(names, run.run)
    scores = [estimate(part, names) for item in family for part in _folds(*item)]
    about = {name: run.meta.get(name) for name in RUN_COLUMNS} | {
        "run": run.run,
        "n_seeds": len(scores),
        "n_units": sample.n_units,
        "n_images": sample.n_images,
        "unit": sample.unit,
        "split": sample.split,
    }
    share = 1 / int(run.meta["cv"]["folds"])
    owners = {run.run: [one.run for one, _ in family]}
    dataset = str(run.meta.get("dataset") or "")
    records = []
    for name in names:
        scale = jackknife_scale(name, sample.classes)
        pooled = pool_folds([one[name] for one in scores], share, scale)
        notes = list(sample.notes)
        if name in NO_INTERVAL:
            pooled = Pooled(pooled.estimate, NAN, NAN, NAN, NAN, NAN)
            notes.append(Note(NO_INTERVAL[name], (name,)))
        elif np.isnan(pooled.low):
            why = TOO_FEW if pooled.seed_error > 0 else ALIKE_FOLDS
            why = NO_FOLD if np.isnan(pooled.estimate) else why
            notes.append(Note(why.format(unit="fold"), (name,)))
        placed = place_notes(notes, name, dataset, owners)
        found = {"metric": name, "positive": sample.positive_of(name), "notes": placed}
        records.append(about | vars(pooled) | found)
    return records


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


def _pool_method(
    method: Method, metrics: Sequence[str] | None, options: dict[str, Any]
) -> list[dict[str, Any]]:
    family, run = method.runs, method.runs[0][0]
    aligned = align(family)
    paired = aligned.paired
    names = check_metrics(metrics, paired.classes)
    method.sample.check_order(names, run.run)
    about = {name: run.meta.get(name) for name in RUN_COLUMNS} | {
        "run": run.run,
        "n_seeds": len(family),
        "n_units": paired.n_units,
        "n_images": aligned.n_images,
        "unit": aligned.unit,
        "split": method.sample.split,
    }
    # The row stands for all seeds, and is named by the first.
    owners = {run.run: [one.run for one, _ in family]}
    notes = [*aligned.notes]
    if len(family) == 1:
        notes.append(ONE_REPEAT if method.sample.split == OUT_OF_FOLD else ONE_SEED)
    silent = [name for name in names if of_probabilities(name) and paired.rows is None]
    plain = {*silent, *NO_INTERVAL}
    same = [n for n in names if n not in plain and len(set(paired.contents(n))) == 1]
    alone = compute_intervals(family[0][1], same, **options)
    records = []
    for name in names:
        if name in silent:
            found: dict[str, Any] = {"method": "none", "replicates": 0}
            said: Notes = (no_probabilities(name),)
        elif name in NO_INTERVAL:
            mean = float(np.mean([estimate(sample, [name])[name] for _, sample in family]))
            found = vars(Pooled(mean, NAN, NAN, NAN, NAN, NAN)) | {"method": "none"}
            found, said = found | {"replicates": 0}, (Note(NO_INTERVAL[name], (name,)),)
        else:
            pooled, interval = _pool(aligned, [sample for _, sample in family], name, alone)
            said = interval.notes
            found = vars(pooled) | {"method": interval.method, "replicates": interval.replicates}
        placed = place_notes((*notes, *said), name, method.dataset, owners)
        found |= {"metric": name, "positive": method.sample.positive_of(name), "notes": placed}
        records.append(about | found)
    return records


def _pool(
    aligned: Aligned, samples: Sequence[Sample], name: str, alone: Mapping[str, Interval]
) -> tuple[Pooled, Interval]:
    """Average a metric over seeds; `alone` has the intervals of metrics that see no difference."""
    made, values = contributions(aligned.paired, name), aligned.paired.estimates(name)
    means = made.residuals.mean(1), made.weights.mean(1)
    group = group_variance(*means, made.counts, factor=df_factor(name, samples[0]))
    part = seeds_part(values, made.shares, made.counts, made.step)
    test = seeds_test(float(values.mean()), group, part)
    of_groups = seeds_test(test.difference, group, None)
    interval = alone.get(name) or _interval(test, of_groups, samples, name)
    return Pooled(
        interval.estimate,
        interval.low,
        interval.high,
        float(group[0] ** 0.5),
        part.error(group[0]) if part is not None else NAN if len(samples) == 1 else 0.0,
        test.mean_df if interval.method in (JACKKNIFE, POOLED) else NAN,
    ), interval


def _interval(
    test: SeedsTest, of_groups: SeedsTest, samples: Sequence[Sample], name: str
) -> Interval:
    """Give Student's interval of a mean over seeds, or Clopper-Pearson's where all are at an end.

    What is to distrust of a seed is to distrust of the mean. `of_groups` is the test of the same
    mean with the variance of groups alone.
    """
    centre, first = test.difference, samples[0]
    scale = jackknife_scale(name, first.classes)
    blank = Interval(centre, NAN, NAN, POOLED, 0, first.unit, first.n_units)
    none = [note for one in samples for note in unknown(name, one)]
    if not none and np.isnan(test.error):
        none = [undefined(name, first)]
    if none:
        return replace(blank, notes=tuple(dict.fromkeys(none)))
    at_end = scale is not None and at_bound(centre, scale)
    if at_end and metric_range(name, first.classes) is None:
        return replace(blank, notes=(Note(AT_BOUND, (name,)),))
    if at_end:
        units = min(exact_trials(name, one) for one in samples)
        found = clopper_pearson(name, blank, units, first.classes)
    elif test.error > NEGLIGIBLE * abs(centre):
        low, high = t_bounds(centre, test.error, test.mean_df, scale)
        found = replace(blank, low=low, high=high)
    else:
        return replace(blank, notes=(Note(UNVARYING.format(unit=first.unit), (name,)),))
    if says_nothing(found.low, found.high, scale):
        few = first.unit
        if not at_end and not says_nothing(
            *t_bounds(centre, of_groups.error, of_groups.df, scale), scale
        ):
            few = again_word(first.split)
        return replace(blank, notes=(Note(TOO_FEW.format(unit=few), (name,)),))
    flags = dict.fromkeys(note for one in samples for note in flag(name, one))
    return replace(found, notes=(*found.notes, *flags))

"""Which method is best over several data sets: mean ranks, with their uncertainty.

Ranks of one test set look exact and are not: patients, seeds and the choice of data sets all move
them. Data sets of the same patients (three MRI modalities) are one piece of evidence, not three.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.comparisons.aligned import align
from frostline.report.statistics.comparisons.compare import check_compared
from frostline.report.statistics.evaluation import score
from frostline.report.statistics.intervals.bounds import MOST_UNDEFINED
from frostline.report.statistics.metrics import (
    Array,
    Codes,
    compute_metrics,
    find_metric,
    of_probabilities,
)
from frostline.report.statistics.names import method_words
from frostline.report.statistics.resampling.units import BLOCK_WEIGHTS, block_sizes
from frostline.report.statistics.sample import WHICH_IS_POSITIVE, Sample, Scored
from frostline.report.statistics.scores import Scores, compute_scores

RANK_COLUMNS = (
    *("method", "mean_rank", "low", "high", "best_share", "cohorts", "datasets", "seeds"),
    *("positive", "notes"),
)
RANK_REPLICATES = 2_000


def rank_methods(
    predictions: Sequence[Predictions | Path | str],
    *,
    metric: str = "accuracy",
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    replicates: int = RANK_REPLICATES,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Rank methods over data sets by their mean rank, seeds averaged first; 1 is best.

    In every replicate patients are drawn again (the same draw for all methods, and for all data
    sets of the same patients) and a seed of each method; the interval is the central 95% of mean
    ranks. Data sets that share patients are averaged first. It is a bootstrap of Demšar's (2006)
    mean rank, whose own test has next to no power with few data sets. `classes` and `positive` are
    those of `evaluate`.

    Returns
    -------
    DataFrame
        Columns `RANK_COLUMNS`, best first; `best_share`, shared by tied ones, is how often a
        method had the best mean rank. Methods that lack a data set are left out.

    Raises
    ------
    InputError
        If fewer than two methods were scored on every data set, or the metric needs probabilities
        that a run lacks, or is undefined in too many draws.
    """
    how: dict[str, Any] = {"classes": classes, "positive": positive, "aggregate": aggregate}
    sets = _by_dataset(score(predictions, split=split, unit=unit, **how), metric)
    methods = _common_methods(sets)
    cohorts = find_cohorts({name: _people(part[methods[0]][0]) for name, part in sets.items()})
    sign, rng = -1.0 if find_metric(metric).higher else 1.0, np.random.default_rng(seed)
    drawn, seen = np.zeros((len(methods), replicates)), np.zeros(len(methods))
    for names in cohorts:
        people = sorted({who for name in names for who in _people(sets[name][methods[0]][0])})
        times = rng.multinomial(len(people), np.full(len(people), 1 / len(people)), replicates)
        for name in names:
            values, own = _values(sets[name], methods, metric, people, times, rng)
            drawn += _ranks(sign * values) / len(names) / len(cohorts)
            seen += _ranks(sign * own[:, None])[:, 0] / len(names) / len(cohorts)
    low, high = np.quantile(drawn := _defined(drawn, metric), [0.025, 0.975], axis=1)
    best = drawn <= drawn.min(0) + 1e-12
    columns = {
        "method": methods,
        "mean_rank": seen,
        "low": low,
        "high": high,
        "best_share": (best / best.sum(0)).mean(1),
        "cohorts": len(cohorts),
        "datasets": len(sets),
        "seeds": [min(len(part[m]) for part in sets.values()) for m in methods],
        "positive": _positive(sets, metric),
        "notes": [_doubts(sets, metric)] * len(methods),
    }
    return pd.DataFrame(columns).sort_values("mean_rank", kind="stable", ignore_index=True)


def _positive(sets: Mapping[str, Mapping[str, list[Scored]]], metric: str) -> str:
    """Name the positive classes that the metric is of, one a data set."""
    samples = [next(iter(part.values()))[0][1] for part in sets.values()]
    return ", ".join(dict.fromkeys(filter(None, (one.positive_of(metric) for one in samples))))


def _doubts(sets: Mapping[str, Mapping[str, list[Scored]]], metric: str) -> Notes:
    """Say how the positive class is chosen, where nobody declared it and the metric is of it."""
    samples = [sample for part in sets.values() for mine in part.values() for _, sample in mine]
    asked = metric in WHICH_IS_POSITIVE.metrics
    doubted = any(note.text == WHICH_IS_POSITIVE.text for one in samples for note in one.notes)
    return (replace(WHICH_IS_POSITIVE, metrics=()),) if asked and doubted else ()


def _by_dataset(scored: Iterable[Scored], metric: str) -> dict[str, dict[str, list[Scored]]]:
    """Sort runs by data set and method; refuse what cannot be ranked by this metric."""
    check_compared(metric)
    sets: dict[str, dict[str, list[Scored]]] = {}
    for item in scored:
        item[1].check_order([metric], item[0].run)
        name = str(item[0].meta.get("dataset") or "")
        mine = sets.setdefault(name, {}).setdefault(method_name(item[0]), [])
        if any(one.meta.get("seed") == item[0].meta.get("seed") for one, _ in mine):
            raise InputError(
                f"{item[0].run}: there is another run of this method with the same seed: give one."
            )
        mine.append(item)
    return sets


def _common_methods(sets: Mapping[str, Mapping[str, list[Scored]]]) -> list[str]:
    """List the methods that every data set has, after checking that their runs can be paired."""
    methods = [m for m in next(iter(sets.values())) if all(m in part for part in sets.values())]
    if len(methods) < 2:
        raise InputError("Fewer than two methods were scored on every data set: nothing to rank.")
    for part in sets.values():
        align([item for method in methods for item in part[method]])
    return methods


def find_cohorts(people: Mapping[str, set[str]]) -> list[list[str]]:
    """Join data sets wherever they share patients, in the order given."""
    cohorts: list[list[str]] = []
    for name, own in people.items():
        linked = [c for c in cohorts if any(own & people[other] for other in c)]
        joined = [other for cohort in linked for other in cohort] + [name]
        cohorts = [c for c in cohorts if c not in linked] + [joined]
    return cohorts


def method_name(run: Predictions) -> str:
    """Name a method in words: backbone, how it was trained, protocol and head."""
    return method_words(run.meta, run.run)


def _people(item: Scored) -> set[str]:
    return set(_person_of_rows(*item))


def _person_of_rows(run: Predictions, sample: Sample) -> list[str]:
    """Give whom each scored row is of: its group, or without groups the image, by data set."""
    ids = [] if sample.ids is None else sample.ids.tolist()
    table = run.table.dropna(subset=["group_id"])
    known = dict(zip(table["image_id"], table["group_id"], strict=True))
    alone = f"{run.meta.get('dataset')}\n"
    # Rows of aggregated samples are groups already.
    groups = set(known.values())
    return [str(known.get(i, i if i in groups else f"{alone}{i}")) for i in ids]


def _values(
    part: Mapping[str, Sequence[Scored]],
    methods: Sequence[str],
    metric: str,
    people: Sequence[str],
    times: np.ndarray,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Compute the metric of each method: in every replicate [M, B], and as it is [M]."""
    place = {who: i for i, who in enumerate(people)}
    drawn, seen = [], []
    for method in methods:
        of_seeds, as_is = [], []
        for run, sample in part[method]:
            member = np.array([place[who] for who in _person_of_rows(run, sample)])
            once = np.ones((1, len(people)), dtype=np.int64)
            of_seeds.append(_weighted(sample, metric, member, times))
            as_is.append(_weighted(sample, metric, member, once)[0])
        chosen = rng.integers(0, len(of_seeds), (len(of_seeds), times.shape[0]))
        drawn.append(np.take_along_axis(np.stack(of_seeds), chosen, axis=0).mean(0))
        seen.append(float(np.mean(as_is)))
    return np.stack(drawn), np.array(seen)


def _weighted(sample: Sample, metric: str, member: Codes, times: npt.NDArray[np.int64]) -> Array:
    """Compute the metric with each person [n] counted so often, times [B, people]: [B]."""
    k = len(sample.classes)
    if not of_probabilities(metric):
        cells = (member * k + sample.truth) * k + sample.prediction
        people = times.shape[1]
        units = np.bincount(cells, minlength=people * k * k).reshape(people, -1)
        confusions = (times @ units.astype(np.float64)).reshape(-1, k, k)
        return np.asarray(compute_metrics(confusions, [metric], sample.classes)[metric])
    if sample.probs is None:
        raise InputError(
            f"{find_metric(metric).title} needs probabilities, and not every run has them (a vote "
            "over images has none): rank by another metric."
        )
    scores, parts, start = Scores(sample.truth, sample.probs), [], 0
    for size in block_sizes(len(times), BLOCK_WEIGHTS // len(member)):
        weights = times[start : start + size].T[member].astype(np.float64)
        parts.append(compute_scores(scores, [metric], weights)[metric])
        start += size
    return np.concatenate(parts)


def _defined(drawn: Array, metric: str) -> Array:
    """Leave out the draws in which the metric is undefined: [M, B]; more than 1% are refused."""
    undefined = np.isnan(drawn).any(0)
    if undefined.mean() > MOST_UNDEFINED:
        raise InputError(
            f"{find_metric(metric).title} is undefined in {undefined.mean():.0%} of the draws of "
            "patients, where a class is missing: rank by another metric."
        )
    return drawn[:, ~undefined]


def _ranks(values: Array) -> Array:
    from scipy.stats import rankdata

    # Undefined values have no rank, and leave their draw without any.
    return np.asarray(rankdata(np.round(values, 12), axis=0, nan_policy="propagate"))

"""Scores of subgroups, and one test for each column of whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.class_order import GIVEN_POSITIVE
from frostline.report.clinical.subgroups.columns import (
    NOT_KNOWN,
    Asked,
    find_column,
    make_subgroups,
    parse_by,
)
from frostline.report.clinical.subgroups.interaction import (
    Interaction,
    find_interaction,
    holm,
    make_part,
)
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions, read_predictions
from frostline.report.statistics.evaluation import RUN_COLUMNS, as_scored
from frostline.report.statistics.intervals.bounds import jackknife_scale
from frostline.report.statistics.intervals.flags import trials
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import (
    Codes,
    OwnMetric,
    check_metrics,
    find_metric,
    of_probabilities,
)
from frostline.report.statistics.own_metrics import number_units
from frostline.report.statistics.resampling.weights import class_number
from frostline.report.statistics.sample import Sample, Scored

# Effective units that a subgroup needs, and of each class that the metric hangs on.
FEWEST_EFFECTIVE, FEWEST_OF_CLASS = 10, 5
WHOLE = "all"
ABSENT = "No value: a class does not occur."
COLUMNS = (
    *("run", *RUN_COLUMNS, "run_seed", "split", "metric", "positive", "column", "subgroup"),
    *("n_units", "unit", "n_images", "n_positive", "counted", "class_counts"),
    *("estimate", "low", "high", "method", "replicates", "seed"),
    *("tested", "statistic", "df", "df_error", "p", "p_adjusted", "reason", "notes"),
)


@dataclass(frozen=True)
class _Rows:
    """A row of the table: a subgroup, its part of the sample, and the units of that."""

    subgroup: str
    sample: Sample
    member: Codes
    why: Notes

    @property
    def large(self) -> bool:
        return not self.why


def subgroups(
    predictions: Sequence[Predictions | Path | str],
    *,
    by: str | Sequence[str],
    metric: str | OwnMetric = "accuracy",
    replicates: int | None = None,
    seed: int = 0,
    **scoring: Any,
) -> pd.DataFrame:
    """Score subgroups with 95% intervals, and test for each column whether they differ.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        One a run; each has its own rows and tests, seeds too.
    by : str or sequence of str
        Columns of their tables, or of the manifests of their workspaces, with cut points of
        numbers: `sex,age:20:60` or `["sex", "age:20:60"]`.
    metric : str or function
        One of `METRICS`, one of a class such as `recall[melanoma]`, or a function of your own.
    replicates, seed : int
        Of the intervals, where they draw.
    **scoring
        `split`, `unit`, `aggregate`, `classes` and `positive`, as of `evaluate`; a positive class
        of more than two is set against all others.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`: for each run first the whole (`column` "", `subgroup` "all"), then the
        subgroups of each column, "not known" last. The test of a column (`find_interaction`) is in
        all of its rows; `p_adjusted` is Holm's (1979) for all columns. `tested` are the subgroups
        that took part: large enough, and known. The others say why in `notes`; `reason` says why a
        column has no test.

    Raises
    ------
    InputError
        If there is no such column, or it needs cut points.
    """
    asked = parse_by(by)
    runs = [
        item if isinstance(item, Predictions) else read_predictions(item) for item in predictions
    ]
    scored = as_scored([_with_ids(run) for run in runs], against_rest=True, **scoring)
    positive = scoring.get("positive")
    if positive is not None:
        scored = [
            (run, sample.against_rest(positive) if len(sample.classes) > 2 else sample)
            for run, sample in scored
        ]
    return tabulate_subgroups(scored, asked, metric, replicates=replicates, seed=seed)


def tabulate_subgroups(
    scored: Sequence[Scored],
    asked: Sequence[Asked],
    metric: str | OwnMetric = "accuracy",
    *,
    replicates: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Give what `subgroups` returns for runs already read, whose rows have names."""
    records: list[dict[str, Any]] = []
    draws = {"replicates": replicates, "seed": seed}
    for run, sample in scored:
        names = check_metrics([metric], sample.classes)
        if len(names) != 1:
            raise InputError(
                f"Subgroups are compared by one metric, and {metric} is one for each class: "
                f"name one, such as {names[0]}."
            )
        sample.check_order(names, run.run)
        records += _of_run(run, sample, asked, names[0], draws)
    return pd.DataFrame(records, columns=list(COLUMNS)).astype({"n_positive": "Int64"})


def _with_ids(run: Predictions) -> Predictions:
    """Name the rows of a table that does not: columns are joined by them."""
    if run.table["image_id"].notna().all():
        return run
    ids = pd.Series([f"row {n}" for n in range(1, len(run.table) + 1)], dtype="string")
    return replace(run, table=run.table.assign(image_id=ids.to_numpy()))


def _of_run(
    run: Predictions, sample: Sample, asked: Sequence[Asked], metric: str, draws: dict[str, Any]
) -> list[dict[str, Any]]:
    """Give the rows of one run."""
    member, units = number_units(sample.groups, len(sample.truth))
    whole = _Rows(WHOLE, sample, member, ())
    records = [_record(run, "", whole, metric, draws)]
    tests = []
    for one in asked:
        names, codes = make_subgroups(find_column(run, sample, one), one)
        parts = [
            _rows(name, sample, member, codes == number, metric)
            for number, name in [*enumerate(names), (-1, NOT_KNOWN)]
            if (codes == number).any()
        ]
        known = [part for part in parts if part.large and part.subgroup != NOT_KNOWN]
        found = _test(sample, member, units, known, metric)
        tests.append(found)
        for part in parts:
            about = {**vars(found), "tested": part in known and not found.reason}
            records.append(_record(run, one.name, part, metric, draws) | about)
    adjusted = dict(
        zip([one.name for one in asked], holm(np.array([t.p for t in tests])), strict=True)
    )
    return [{**row, "p_adjusted": adjusted.get(row["column"], np.nan)} for row in records]


def _rows(
    name: str, sample: Sample, member: Codes, chosen: npt.NDArray[np.bool_], metric: str
) -> _Rows:
    part, why = part_of(sample, chosen, metric)
    return _Rows(name, part, member[chosen], why)


def part_of(sample: Sample, chosen: npt.NDArray[np.bool_], metric: str) -> tuple[Sample, Notes]:
    """Take some rows of a sample, and say why they are too few for an interval, if they are."""
    part = replace(
        sample,
        truth=sample.truth[chosen],
        prediction=sample.prediction[chosen],
        groups=None if sample.groups is None else sample.groups[chosen],
        probs=None if sample.probs is None else sample.probs[chosen],
        ids=None if sample.ids is None else sample.ids[chosen],
        images=None if sample.images is None else sample.images[chosen],
        n_images=int(chosen.sum() if sample.images is None else sample.images[chosen].sum()),
        notes=(),
    )
    return part, _too_small(part, sample, metric)


def _too_small(part: Sample, whole: Sample, metric: str) -> Notes:
    """Say why a subgroup has no interval and no test; nothing where it has."""
    number, macro = class_number(metric, part.classes), find_metric(metric).macro
    hangs = [number] if number is not None else range(len(part.classes)) if macro else []
    there, all_there = part.confusion.sum(1), whole.confusion.sum(1)
    absent = tuple(part.classes[c] for c in hangs if all_there[c] and not there[c])
    if absent and not metric.startswith("specificity"):
        return (Note(ABSENT, (metric,), absent),)
    if part.effective_units < FEWEST_EFFECTIVE:
        few = f"fewer than {FEWEST_EFFECTIVE} effective {part.unit}s"
        return (Note(f"No interval: too small ({few}).", (metric,)),)
    if hangs and trials(metric, part) < FEWEST_OF_CLASS:
        few = f"fewer than {FEWEST_OF_CLASS} effective {part.unit}s of a class"
        return (Note(f"No interval: too small ({few}).", (metric,)),)
    return ()


def _test(
    sample: Sample, member: Codes, units: int, known: Sequence[_Rows], metric: str
) -> Interaction:
    if len(known) < 2:
        return Interaction(reason="fewer than two subgroups are large enough")
    if sample.probs is None and of_probabilities(metric):
        return Interaction(reason="there are no probabilities")
    made = [make_part(one.sample, metric, one.member, units) for one in known]
    names = np.concatenate([_names(one.sample) for one in known])
    union = _rows(WHOLE, sample, member, np.isin(_names(sample), names), metric)
    whole = make_part(union.sample, metric, union.member, units)
    parts = [one for one in made if one is not None]
    if whole is None or len(parts) < len(made):
        return Interaction(reason="the metric is undefined without some unit")
    return find_interaction(parts, whole, jackknife_scale(metric, sample.classes))


def _names(sample: Sample) -> npt.NDArray[np.object_]:
    assert sample.ids is not None
    return sample.ids


def class_of(metric: str, classes: Sequence[str]) -> str:
    """Name the class whose images are counted: a metric's own, or the last of two; else ""."""
    number = class_number(metric, classes)
    return classes[number] if number is not None else classes[1] if len(classes) == 2 else ""


def _record(
    run: Predictions, column: str, rows: _Rows, metric: str, draws: dict[str, Any]
) -> dict[str, Any]:
    """Score some rows."""
    sample = rows.sample
    found = compute_intervals(sample, [metric], **draws)[metric]
    if rows.why:
        nan = float("nan")
        centre = nan if rows.why[0].text == ABSENT else found.estimate
        found = Interval(centre, nan, nan, "none", 0, sample.unit, sample.n_units, rows.why)
    counts = dict(zip(sample.classes, sample.confusion.sum(1).tolist(), strict=True))
    of = class_of(metric, sample.classes)
    about = {name: run.meta.get(name) for name in RUN_COLUMNS}
    said = (note for note in sample.notes if note.text != GIVEN_POSITIVE.text)
    notes = tuple(replace(note, runs=(run.run,)) for note in (*said, *found.notes))
    return {
        **{name: "" if value is None else value for name, value in about.items()},
        "run": run.run,
        "unfreeze": str(about["unfreeze"] or ""),
        "run_seed": run.meta.get("seed"),
        "split": sample.split,
        "metric": metric,
        "positive": sample.positive_of(metric),
        "column": column,
        "subgroup": rows.subgroup,
        "n_images": sample.n_images,
        "n_positive": counts[of] if of else None,
        "counted": of,
        "class_counts": ", ".join(f"{name} {count}" for name, count in counts.items()),
        "seed": draws["seed"],
        "tested": False,
        **vars(Interaction()),
        **vars(found),
        "notes": notes,
    }

"""Score runs: every metric with its interval, and what always answering one class would score."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.class_order import in_one_order
from frostline.report.notes import Note, Notes
from frostline.report.overlap import overlap_note
from frostline.report.predictions import Predictions, read_predictions
from frostline.report.statistics.intervals.interval import Interval
from frostline.report.statistics.intervals.intervals import compute_intervals
from frostline.report.statistics.metrics import (
    OWN_METRICS,
    OwnMetric,
    check_metrics,
    of_probabilities,
)
from frostline.report.statistics.names import MAJORITY_HEAD, METHOD_COLUMNS, dataset_title
from frostline.report.statistics.sample import (
    INDEPENDENT,
    NO_GROUPS,
    Runs,
    Sample,
    Scored,
    make_sample,
    with_differences,
)

RUN_COLUMNS = (*METHOD_COLUMNS, "candidates")
COLUMNS = (
    *("run", *RUN_COLUMNS, "run_seed", "split", "metric", "estimate", "low", "high"),
    *("n_units", "n_images", "unit", "method", "replicates", "seed", "positive", "notes"),
)
ASSUMED = (INDEPENDENT.text, NO_GROUPS.text)


def evaluate(
    predictions: Sequence[Predictions | Path | str],
    *,
    split: str = "test",
    ci: str = "auto",
    replicates: int | None = None,
    unit: str = "group",
    seed: int = 0,
    metrics: Sequence[str | OwnMetric] | None = None,
    aggregate: str = "auto",
    stratified: bool = False,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Score predictions, one row a run and metric, with 95% intervals.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        One a run.
    split : str
        Which rows are scored; "all" for every row. Files without splits are scored whole.
    ci : str
        A method of `frostline.report.statistics.intervals.INTERVALS`.
    replicates : int, optional
        10,000 unless said; 5,000 for `replicate-mean`.
    unit : "group" or "image"
        What is resampled: groups (patients, lesions) where the file has them, else images.
    seed : int
        Seed of the bootstrap.
    metrics : sequence of str or function, optional
        Names of `frostline.report.METRICS`, or `f1_per_class` and the like; by default
        `DEFAULT_METRICS`. A function of your own takes truth, prediction (names of classes, [n])
        and probabilities ([n, K]; None where a file has none), and gives a number.
    aggregate : "auto", "mean", "vote" or "none"
        How images become one row a group first; `auto` takes the mean for slices of volumes.
    stratified : bool
        Resample within classes; by a bootstrap, so not with "auto" or "jackknife-t".
    classes, positive : sequence of str and str, optional
        All classes from the lowest to the highest, the last of two the positive one, instead of
        the order that the data set declares; and which of two is positive.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`. Estimates and bounds are fractions. After the runs comes a row for each
        data set and test set with `majority` in its run name: always answering the most frequent
        class of training.

    Raises
    ------
    InputError
        If a file cannot be used or an option has no such value.
    """
    order: dict[str, Any] = {"classes": classes, "positive": positive}
    scored = score(predictions, split=split, unit=unit, aggregate=aggregate, **order)
    return tabulate(
        scored, ci=ci, replicates=replicates, seed=seed, metrics=metrics, stratified=stratified
    )[0]


def tabulate(
    scored: Sequence[Scored],
    *,
    ci: str = "auto",
    replicates: int | None = None,
    seed: int = 0,
    metrics: Sequence[str | OwnMetric] | None = None,
    stratified: bool = False,
) -> tuple[pd.DataFrame, list[Scored]]:
    """Give what `evaluate` returns for runs already read, and the rows with the majority's."""
    rows = with_majority(scored)
    records = []
    for run, sample in rows:
        names = check_metrics(metrics, sample.classes)
        sample.check_order(names, run.run)
        if run.meta["head"] == MAJORITY_HEAD:
            # One answer to all has no probabilities to score.
            names = [
                name for name in names if not of_probabilities(name) and name not in OWN_METRICS
            ]
        if not names:
            continue
        intervals = compute_intervals(
            sample, names, ci=ci, replicates=replicates, seed=seed, stratified=stratified
        )
        about = about_run(run, sample) | {"seed": seed}
        for name, interval in intervals.items():
            notes = place_notes(_notes(sample, interval), name, _dataset(run), {run.run: [run.run]})
            own = {"metric": name, "positive": sample.positive_of(name), "notes": notes}
            records.append(about | vars(interval) | own)
    return pd.DataFrame(records, columns=list(COLUMNS)), rows


def score(
    predictions: Sequence[Predictions | Path | str],
    *,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    classes: Sequence[str] | None = None,
    positive: str | None = None,
    against_rest: bool = False,
) -> list[Scored]:
    """Read what is given as paths, give each run a name of its own, and take the rows to score.

    `classes` and `positive` are those of `evaluate`; with `against_rest` positive may be one of
    several classes.
    """
    if not predictions:
        raise InputError("There are no predictions to evaluate: give at least one file.")
    runs = [
        item if isinstance(item, Predictions) else read_predictions(item) for item in predictions
    ]
    named = [_with_title(run) for run in _with_own_names(runs)]
    return with_differences(
        [
            (run, make_sample(run, split=split, unit=unit, aggregate=aggregate))
            for run in in_one_order(named, classes, positive, against_rest=against_rest)
        ]
    )


def as_scored(runs: Runs, **options: Any) -> list[Scored]:
    """Return what `score` returned as it is, and score predictions or paths."""
    if runs and isinstance(runs[0], tuple):
        return list(runs)  # type: ignore[arg-type]
    return score(runs, **options)  # type: ignore[arg-type]


def with_majority(scored: Sequence[Scored]) -> list[Scored]:
    """Add to the runs what training's majority class scores on each data set and test set.

    Where no run of a test set says its training counts, there is no such row and the runs say so.
    """
    rows: dict[tuple[str, str, str], Scored] = {}
    known = {(_dataset(run), sample.test_set) for run, sample in scored if _majority(run)}
    runs = []
    for run, sample in scored:
        answer = _majority(run)
        if answer is not None:
            key = (_dataset(run), sample.test_set, answer)
            rows.setdefault(key, _majority_row(run, sample, answer))
        elif (_dataset(run), sample.test_set) not in known:
            note = Note("There is no majority row: class counts of training are not given.")
            sample = replace(sample, notes=(*sample.notes, note))
        runs.append((run, sample))
    named = _with_own_names(_by_level(list(rows.values())))
    return runs + [(run, sample) for run, (_, sample) in zip(named, rows.values(), strict=True)]


def _majority(run: Predictions) -> str | None:
    """Find the most frequent class of training; of equals the first by name."""
    counts = run.meta.get("class_counts")
    return max(sorted(run.classes), key=lambda name: counts.get(name, 0)) if counts else None


def _majority_row(run: Predictions, sample: Sample, answer: str) -> Scored:
    code = sample.classes.index(answer)
    name = f"majority-{_dataset(run)}" if _dataset(run) else "majority"
    meta = dict.fromkeys(run.meta) | {
        "run": name,
        "dataset": run.meta.get("dataset"),
        "head": MAJORITY_HEAD,
        "classes": run.meta["classes"],
        "classes_declared": run.meta["classes_declared"],
        "class_counts": run.meta["class_counts"],
    }
    of_rows = [replace(note, runs=()) for note in sample.notes if not note.metrics]
    kept = [note for note in of_rows if note not in (*run.notes, *overlap_note(run.meta))]
    answers = replace(
        sample,
        prediction=np.full_like(sample.truth, code),
        probs=None,
        notes=(*kept, Note("The majority class is that of training.", classes=(answer,))),
    )
    return Predictions(run.table.iloc[:0], meta), answers


def _by_level(rows: Sequence[Scored]) -> list[Predictions]:
    """Say "by patient" in names of rows whose data set is scored by image, too."""
    levels: dict[str, set[bool]] = {}
    for run, sample in rows:
        levels.setdefault(run.run, set()).add(sample.images is None)
    return [
        replace(run, meta={**run.meta, "run": f"{run.run} by patient"})
        if sample.images is not None and len(levels[run.run]) > 1
        else run
        for run, sample in rows
    ]


def _with_title(run: Predictions) -> Predictions:
    """Name the data set of training with an external one: its runs are no other runs' seeds."""
    title = dataset_title(run.meta)
    return (
        run
        if title == (run.meta["dataset"] or "")
        else replace(run, meta={**run.meta, "dataset": title, "external": run.meta["dataset"]})
    )


def _dataset(run: Predictions) -> str:
    return str(run.meta.get("dataset") or "")


def _with_own_names(runs: Sequence[Predictions]) -> list[Predictions]:
    """Add #2, #3, … to repeated run names, so that no two rows of a table are confused."""
    seen: dict[str, int] = {}
    out = []
    for run in runs:
        seen[run.run] = times = seen.get(run.run, 0) + 1
        name = run.run if times == 1 else f"{run.run} #{times}"
        out.append(replace(run, meta={**run.meta, "run": name}))
    return out


def about_run(run: Predictions, sample: Sample) -> dict[str, Any]:
    """Give what a table says of a run, whatever was scored: `RUN_COLUMNS`, its name and sizes."""
    about = {name: run.meta.get(name) for name in RUN_COLUMNS}
    about = {name: "" if value is None else value for name, value in about.items()}
    return about | {
        "run": run.run,
        "unfreeze": str(about["unfreeze"]),
        "run_seed": run.meta.get("seed"),
        "split": sample.split,
        "n_images": sample.n_images,
    }


def _notes(sample: Sample, interval: Interval) -> Notes:
    if interval.method != "replicate-mean":
        return (*sample.notes, *interval.notes)
    # Images are its unit whatever the groups, so this is said of all alike.
    kept = [note for note in sample.notes if note.text not in ASSUMED]
    return (*kept, INDEPENDENT, *interval.notes)


def place_notes(
    notes: Iterable[Note], metric: str, dataset: str, owners: Mapping[str, Collection[str]]
) -> Notes:
    """Keep the notes about a metric and these rows, each once, and name data set and rows in them.

    Parameters
    ----------
    owners : mapping
        For the name of each row the runs that it stands for.
    """
    placed = []
    for note in notes:
        about = [name for name, runs in owners.items() if not note.runs or set(runs) & {*note.runs}]
        if about and (not note.metrics or metric in note.metrics):
            placed.append(replace(note, runs=tuple(about), dataset=dataset))
    return tuple(dict.fromkeys(placed))

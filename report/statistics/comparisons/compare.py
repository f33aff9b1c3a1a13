"""Compare methods: which is better, and whether that is more than luck.

The one engine of comparisons: the command, the page and its sentences, the terminal, LaTeX and the
marks of tables all show what `compare_scored` found. `docs/statistics.md` says what is tested and
why. One primary metric decides; what is tested together is declared as a family and adjusted for
its size.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import Note, Notes
from frostline.report.predictions import Predictions
from frostline.report.statistics.choices import Family
from frostline.report.statistics.comparisons.aligned import Aligned, align
from frostline.report.statistics.comparisons.contributions import Step, no_step
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.comparisons.differences import (
    Difference,
    Options,
    compare_family,
)
from frostline.report.statistics.comparisons.families import find_pairs
from frostline.report.statistics.comparisons.methods import (
    Method,
    group_methods,
    method_labels,
    method_names,
)
from frostline.report.statistics.evaluation import place_notes, score
from frostline.report.statistics.intervals.intervals import NO_INTERVAL
from frostline.report.statistics.metrics import (
    OwnMetric,
    check_direction,
    find_metric,
    name_own_metric,
)
from frostline.report.statistics.sample import Scored

FAMILIES: tuple[str, ...] = get_args(Family)
NOT_COMPARED = "not compared"
FEWEST_REPLICATES = 100
NOTHING = {
    "pairs": "Nothing to compare: no data set has runs of two methods (runs that differ in their "
    "seed alone are one method). Give runs of two methods on one data set.",
    "freezing": "Nothing to compare: no backbone has a frozen and an unfrozen run on one data set. "
    "Give such runs.",
}
COMPARISON_COLUMNS = (
    *("dataset", "a", "b", "metric", "estimate_a", "estimate_b", "difference", "low", "high"),
    *("pair_low", "pair_high", "p", "smallest_p", "p_adjusted", "adjustment", "family_size"),
    *("mcnemar_p", "margin", "equivalence_low", "equivalence_high", "equivalence_p", "verdict"),
    *("n_units", "n_images", "unit", "split", "replicates", "seed"),
    *("family", "test", "seeds_a", "seeds_b", "group_error", "seed_error", "interaction_error"),
    *("seed_df", "df", "notes"),
    *("label_a", "label_b", "effective_units", "pair_alpha", "groups_needed", "positive"),
)
# The order of what is found: decided first.
ORDER = ("better", "worse", "equivalent", "undecided", IDENTICAL, NOT_COMPARED)
# Called with steps done and their number.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Comparison:
    """Two methods and what was found; `found` is None, and the note says why, if nothing was."""

    a: Method
    b: Method
    names: tuple[str, str]
    labels: tuple[str, str]
    aligned: Aligned | None
    found: Difference | None
    notes: Notes


def compare(
    predictions: Sequence[Predictions | Path | str],
    *,
    metric: str | OwnMetric = "accuracy",
    family: str = "pairs",
    margin: float | None = None,
    split: str = "test",
    unit: str = "group",
    aggregate: str = "auto",
    replicates: int = 10_000,
    seed: int = 0,
    intersection: bool = False,
    classes: Sequence[str] | None = None,
    positive: str | None = None,
) -> pd.DataFrame:
    """Compare methods on the same images, data set by data set.

    Runs that differ in their seed alone are one method, scored by its mean over seeds.

    Parameters
    ----------
    predictions : sequence of Predictions or paths
        Runs of at least two methods of a data set.
    metric : str or function
        The one primary metric, or a function of your own as in `evaluate`; where lower is better,
        set `function.higher_is_better = False`.
    family : "pairs" or "freezing"
        Tested together in a data set: all pairs, or frozen against unfrozen of a backbone.
    margin : float, optional
        Differences smaller than this fraction do not matter: methods can be found equivalent.
    split, unit, aggregate, seed, classes, positive
        As in `evaluate`.
    replicates : int
        Sign arrangements drawn, where there are too many to visit.
    intersection : bool
        Compare runs with different test sets on the images that all have.

    Returns
    -------
    DataFrame
        Columns `COMPARISON_COLUMNS`, a row a pair, in the order of `decided_first`. `difference`
        is a minus b, which name a run, or a method of several seeds; `label_a` says it in words.

    Raises
    ------
    InputError
        If there is nothing to compare, or runs cannot be paired.
    """
    name = name_own_metric(metric) if callable(metric) else metric
    options = Options(name, family, margin, replicates, seed)
    scoring = {"split": split, "unit": unit, "aggregate": aggregate, "classes": classes}
    return compare_predictions(
        predictions, options, scoring | {"positive": positive}, intersection=intersection
    )


def compare_predictions(
    predictions: Sequence[Predictions | Path | str],
    options: Options,
    scoring: Mapping[str, Any],
    *,
    intersection: bool = False,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """As `compare`, saying how far it is: `progress` is called with runs and pairs done, and all.

    `scoring` are those of its parameters that `score` takes.
    """
    check_options(options)
    if not predictions:
        raise InputError("There is nothing to compare: give predictions of at least two runs.")
    scored = score(predictions, **scoring)
    if len(scored) < 2:
        raise InputError("One run alone cannot be compared: give at least two.")
    found = compare_scored(scored, options, intersection=intersection, progress=progress)
    if not found:
        raise InputError(NOTHING[options.family])
    return decided_first(comparison_frame(found, options))


def compare_scored(
    scored: Sequence[Scored],
    options: Options,
    *,
    intersection: bool = False,
    skip: bool = False,
    progress: Progress | None = None,
) -> list[Comparison]:
    """Compare the methods of runs already read, data set by data set.

    Parameters
    ----------
    intersection, progress
        As in `compare`.
    skip : bool
        Where methods cannot be paired, say so of each pair and compare the others; else that is an
        error.
    """
    check_options(options)
    datasets: dict[str, list[Method]] = {}
    for method in group_methods(scored, by_test_set=False):
        datasets.setdefault(method.dataset, []).append(method)
    step = _steps(list(datasets.values()), options.family, progress)
    found = []
    for methods in datasets.values():
        found += compare_methods(methods, options, intersection=intersection, skip=skip, step=step)
    return found


def compare_methods(
    methods: Sequence[Method],
    options: Options,
    *,
    intersection: bool = False,
    skip: bool = False,
    step: Step = no_step,
) -> list[Comparison]:
    """Compare the methods of one data set: one family; as `compare_scored`.

    `step` is called after every run and every pair.
    """
    pairs = find_pairs(methods, options.family)
    if not pairs:
        return []
    methods[0].sample.check_order([options.metric], methods[0].name)
    named = list(zip(method_names(methods), method_labels(methods), strict=True))
    try:
        aligned, places = _align(methods, pairs, intersection)
        found = compare_family(aligned, places, options, step=step)
        results: list[Result] = [(aligned, one) for one in found]
    except InputError:
        if not skip:
            raise
        results = _test_apart(methods, pairs, options)
    return [
        _compared((methods[a], methods[b]), (named[a], named[b]), result, options)
        for (a, b), result in zip(pairs, results, strict=True)
    ]


def comparison_frame(comparisons: Sequence[Comparison], options: Options) -> pd.DataFrame:
    """Give a table of comparisons, a row each, in the columns `COMPARISON_COLUMNS`."""
    return pd.DataFrame(
        [_record(one, options) for one in comparisons], columns=list(COMPARISON_COLUMNS)
    )


def decided_first(frame: pd.DataFrame) -> pd.DataFrame:
    """Sort comparisons within each data set: by verdict in `ORDER`, then by p; ties as they are.

    Better and worse are one kind. Of equivalent pairs p is that of equivalence.
    """
    place = {name: max(number, 1) for number, name in enumerate(ORDER)}
    alike = frame["verdict"] == "equivalent"
    keys = pd.DataFrame(
        {
            "dataset": pd.factorize(frame["dataset"])[0],
            "verdict": frame["verdict"].map(place),
            "adjusted": frame["p_adjusted"].mask(alike, frame["equivalence_p"]).astype(float),
            "p": frame["p"].astype(float),
        }
    )
    order = keys.sort_values(list(keys.columns), kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def _steps(datasets: Sequence[Sequence[Method]], family: str, progress: Progress | None) -> Step:
    """Count the runs and pairs that are done, and pass their number on."""
    if progress is None:
        return no_step
    total = 0
    for methods in datasets:
        pairs = find_pairs(methods, family)
        total += len(pairs) + sum(len(methods[i].runs) for i in {i for p in pairs for i in p})
    done = itertools.count(1)
    return lambda: progress(next(done), total)


def check_compared(metric: str) -> None:
    """Refuse a metric by which methods are not compared."""
    if metric == "recall_weighted":
        raise InputError("`recall_weighted` is the same number as accuracy: compare by accuracy.")
    if metric in NO_INTERVAL:
        raise InputError(f"{metric} is not compared, because it has no interval: take log_loss.")
    check_direction(metric)


def check_options(options: Options) -> None:
    """Refuse what cannot be compared by."""
    metric = options.metric
    if options.family not in FAMILIES:
        raise InputError(
            f"There is no family {options.family!r}: choose from {', '.join(FAMILIES)}."
        )
    check_compared(metric)
    bounds = find_metric(metric).bounds
    if options.margin is not None and options.margin <= 0:
        raise InputError(
            f"The margin {options.margin} is not above 0: give a fraction such as 0.02."
        )
    if options.margin is not None and bounds and options.margin >= bounds[1] - bounds[0]:
        raise InputError(
            f"The margin {options.margin} is no less than the whole range of {metric}: it is a "
            "fraction, such as 0.02 for 2 points."
        )
    if options.replicates < FEWEST_REPLICATES:
        raise InputError(
            f"{options.replicates} replicates are too few to test by: ask for at least "
            f"{FEWEST_REPLICATES}."
        )


Result = tuple[Aligned, Difference] | InputError


def _align(
    methods: Sequence[Method], pairs: Sequence[tuple[int, int]], intersection: bool
) -> tuple[Aligned, list[tuple[slice, slice]]]:
    """Align the methods of these pairs, and say where the runs of each pair are."""
    places: dict[int, slice] = {}
    runs: list[Scored] = []
    for i in sorted({i for pair in pairs for i in pair}):
        places[i] = slice(len(runs), len(runs) + len(methods[i].runs))
        runs += methods[i].runs
    aligned = align(runs, intersection=intersection)
    return aligned, [(places[a], places[b]) for a, b in pairs]


def _test_apart(
    methods: Sequence[Method], pairs: Sequence[tuple[int, int]], options: Options
) -> list[Result]:
    """Align and test each pair on its own images; those that can be are one family."""
    ready: list[tuple[Aligned, list[tuple[slice, slice]]] | InputError] = []
    for pair in pairs:
        try:
            ready.append(_align(methods, [pair], intersection=False))
        except InputError as error:
            ready.append(error)
    size = sum(isinstance(one, tuple) for one in ready)
    return [
        (one[0], compare_family(*one, options, size=size)[0]) if isinstance(one, tuple) else one
        for one in ready
    ]


def _compared(
    pair: tuple[Method, Method],
    named: tuple[tuple[str, str], tuple[str, str]],
    result: Result,
    options: Options,
) -> Comparison:
    (a, b), (one, other) = pair, named
    names, labels = (one[0], other[0]), (one[1], other[1])
    if isinstance(result, InputError):
        note = Note(str(result), runs=names, dataset=a.dataset)
        return Comparison(a, b, names, labels, None, None, (note,))
    aligned, found = result
    owners = {
        name: {run.run for run, _ in method.runs} for name, method in zip(names, pair, strict=True)
    }
    notes = place_notes(found.notes, options.metric, a.dataset, owners)
    return Comparison(a, b, names, labels, aligned, found, notes)


def _record(one: Comparison, options: Options) -> dict[str, Any]:
    record: dict[str, Any] = {"verdict": NOT_COMPARED}
    if one.found is not None and one.aligned is not None:
        record = vars(one.found) | {
            "n_units": one.aligned.paired.n_units,
            "n_images": one.aligned.n_images,
            "unit": one.aligned.unit,
        }
    return record | {
        "dataset": one.a.dataset,
        "a": one.names[0],
        "b": one.names[1],
        "label_a": one.labels[0],
        "label_b": one.labels[1],
        "seeds_a": len(one.a.runs),
        "seeds_b": len(one.b.runs),
        "metric": options.metric,
        "positive": one.a.sample.positive_of(options.metric),
        "split": one.a.sample.split,
        "family": options.family,
        "margin": options.margin,
        "replicates": options.replicates,
        "seed": options.seed,
        "notes": one.notes,
    }

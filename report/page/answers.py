"""The answer in sentences, with its uncertainty: decided by paired comparisons, never by overlap.

A page shows `answer` as text and `frozen_against_unfrozen` as a forest plot of differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from frostline.report.notes import no_interval
from frostline.report.statistics.comparisons.best import mark_best
from frostline.report.statistics.comparisons.compare import (
    NOT_COMPARED,
    compare_methods,
    compare_scored,
    comparison_frame,
)
from frostline.report.statistics.comparisons.decisions import IDENTICAL, within_margin
from frostline.report.statistics.comparisons.differences import Options
from frostline.report.statistics.comparisons.families import CURVE, find_pairs
from frostline.report.statistics.comparisons.methods import Method, group_methods, method_labels
from frostline.report.statistics.evaluation import as_scored
from frostline.report.statistics.intervals.intervals import INTERVALS
from frostline.report.statistics.metrics import find_metric, of_probabilities
from frostline.report.statistics.names import MAJORITY_HEAD, again_word, tuning_words
from frostline.report.statistics.sample import Runs, Sample, Scored
from frostline.report.statistics.seeds import over_seeds
from frostline.report.tables.numbers import bound_word, bounds_shown, is_share, margin_words, number
from frostline.report.tables.plans import needed_sentence, needed_word, units_word
from frostline.report.tables.positive import metric_words

MEANS = "replicate-mean"
COUNTED = {
    "better": "helped in",
    "worse": "cost in",
    "equivalent": "did not matter in",
    "undecided": "is undecided in",
    IDENTICAL: "changed no prediction in",
    NOT_COMPARED: "was not compared in",
}
SINGLE_RUNS = "Intervals of single runs are of the bootstrap mean, not of the metric."


def answer(
    frame: pd.DataFrame,
    primary: str,
    runs: Runs,
    *,
    differences: pd.DataFrame | None = None,
    marks: pd.DataFrame | None = None,
) -> list[str]:
    """Write sentences: whether freezing helped, then which run is best, for every data set.

    Parameters
    ----------
    frame : DataFrame
        What `evaluate` or `tabulate` returned: the scores that are shown with the sentences.
    primary : str
        The one metric that decides.
    runs : sequence of Predictions or paths, or of what `score` or `tabulate` returned
        The runs of the frame; methods are compared on their images, over their seeds.
    differences : DataFrame, optional
        What `frozen_against_unfrozen` returned for these runs, where it is at hand.
    marks : DataFrame, optional
        What `mark_best` returned for every data set, where it is at hand.
    """
    if primary not in set(frame["metric"]):
        primary = str(frame["metric"].iloc[0])
    scored = as_scored(runs)
    if differences is None:
        differences = frozen_against_unfrozen(scored, primary)
    sentences = freezing_sentences(differences)
    for dataset in frame["dataset"].unique():
        part = frame[(frame["dataset"] == dataset) & (frame["metric"] == primary)]
        own = [item for item in scored if str(item[0].meta["dataset"] or "") == dataset]
        marked = None if marks is None else marks[marks["dataset"] == dataset]
        sentences += _best(part, own, primary, marked)
    if (frame["method"] == MEANS).any():
        sentences.append(SINGLE_RUNS)
    return sentences


def frozen_against_unfrozen(
    runs: Runs, primary: str = "accuracy", *, margin: float | None = None, seed: int = 0
) -> pd.DataFrame:
    """Compare every frozen method with every unfrozen one of its backbone, as `compare` does.

    Returns
    -------
    DataFrame
        Columns of `compare` (a is frozen) and `backbone`, `protocol`, `weights`, `head`,
        `unfreeze`, `unfrozen_head`. Where two methods cannot be paired the verdict is "not
        compared" and the first of `notes` says why. Empty where there is no such pair.
    """
    options = Options(primary, "freezing", margin, seed=seed)
    found = compare_scored(as_scored(runs), options, skip=True)
    about = {
        name: [str(one.a.meta[name] or "") for one in found]
        for name in ("backbone", "protocol", "weights", "head")
    }
    about["unfreeze"] = [str(one.b.meta["unfreeze"]) for one in found]
    about["unfrozen_head"] = [str(one.b.meta["head"] or "") for one in found]
    return comparison_frame(found, options).assign(**about)


def freezing_sentences(differences: pd.DataFrame) -> list[str]:
    """Write what `frozen_against_unfrozen` found: a summary of many, then a sentence each."""
    rows = differences.to_dict("records")
    sentences = [_freezing(row, _distinction(row, rows)) for row in rows]
    if len(rows) > 2:
        counts = differences["verdict"].value_counts()
        found = [f"{word} {counts[name]}" for name, word in COUNTED.items() if name in counts]
        sentences.insert(0, f"Of {len(rows)} comparisons, freezing {_listed(found, len(found))}.")
    return sentences


def _freezing(row: dict[Any, Any], distinction: str) -> str:
    metric = find_metric(row["metric"])
    place = f" on {row['dataset']}" if row["dataset"] else ""
    model = f"{row['backbone']}{place}{distinction}"
    if row["verdict"] == NOT_COMPARED:
        return f"Freezing {model} was not compared: {row['notes'][0].text}"
    if row["verdict"] == IDENTICAL:
        score = f"{metric_words(row)} {_value(row['estimate_a'], row['metric'])}"
        alike = f"{IDENTICAL} {tuning_words(row['unfreeze'])}"
        return f"Freezing {model} changes nothing: {alike}, {score}{_seeds(row)}."
    # What freezing gained; of losses, lower is better.
    sign = 1 if metric.higher else -1
    sign = -sign if row["verdict"] == "worse" else sign
    low, high = sorted(sign * bound for bound in bounds_shown(row))
    decided = row["verdict"] in ("better", "worse")
    amount = _amount(row, sign, low, high, "" if decided else "+")
    scores = [_value(row[name], row["metric"]) for name in ("estimate_a", "estimate_b")]
    behind = f"{scores[0]} against {scores[1]} {tuning_words(row['unfreeze'])}{_seeds(row)}"
    amount += f", within the margin of {margin_words(row)}" if within_margin(row) else ""
    if row["verdict"] == "better":
        return f"Freezing helped {model} by {amount}: {behind}."
    if row["verdict"] == "worse":
        return f"Freezing cost {model} {amount}: {behind}."
    if row["verdict"] == "equivalent":
        amount = f"{amount} (90% interval)"
        return f"Freezing {model} makes no difference that matters: {amount}, {behind}."
    said = f"Whether freezing helps {model} is undecided: {amount}, {behind}."
    return f"{said} {needed_sentence(row)}".rstrip()


def _distinction(row: dict[Any, Any], rows: Sequence[dict[Any, Any]]) -> str:
    """Name what distinguishes this pair from others of its backbone and data set."""
    kin = [o for o in rows if all(o[n] == row[n] for n in ("dataset", "backbone"))]
    varying = [
        name
        for name in ("protocol", "weights", "head", "unfrozen_head")
        if len({o[name] for o in kin}) > 1
    ]
    words = [str(row[name]) for name in varying if row[name]]
    return f" ({', '.join(dict.fromkeys(words))})" if words else ""


def _seeds(row: dict[Any, Any]) -> str:
    one, other = row["seeds_a"], row["seeds_b"]
    if one == other == 1:
        return ""
    word = again_word(row["split"])
    seeds = f"mean of {one} {word}s each" if one == other else f"means of {one} and {other} {word}s"
    return f" ({seeds})"


def _amount(row: dict[Any, Any], sign: int, low: float, high: float, plus: str) -> str:
    """Write a difference with its unit and interval, or why it has no interval."""
    metric = row["metric"]
    bounds = ", ".join(bound_word(bound, metric, plus) for bound in (low, high))
    interval = no_interval(row["notes"]) if pd.isna(low) else f"[{bounds}]"
    points = "points of " if is_share(metric) else ""
    difference = number(sign * row["difference"], metric, sign=plus)
    return f"{difference} {points}{metric_words(row)} {interval}"


def _best(
    part: pd.DataFrame, scored: Sequence[Scored], metric: str, marks: pd.DataFrame | None
) -> list[str]:
    """Say which method scored highest, and which others are not separated from it.

    Nothing where there are only the depths of one backbone, of which other sentences speak.
    """
    higher = find_metric(metric).higher
    methods = group_methods(scored)
    if len(methods) > 1 and not find_pairs(methods, "pairs"):
        return []
    place = f"On {methods[0].dataset}, " if methods[0].dataset else ""
    labels = method_labels(methods)
    rows = {
        one.name: _row(one, part, metric) | {"name": label}
        for one, label in zip(methods, labels, strict=True)
    }
    ranked = sorted(methods, key=lambda one: rows[one.name]["estimate"], reverse=higher)
    best = ranked[0]
    scores = f"{metric_words(rows[best.name])} {_score(rows[best.name], metric)}"
    text = f"{place}{rows[best.name]['name']} scored {scores}"
    if len(ranked) > 1:
        text = f"{place}{rows[best.name]['name']} scored {'highest' if higher else 'lowest'}: "
        marks = mark_best(methods, metric) if marks is None else marks
        text += scores + _separated(best, rows, marks)
    majority = [item for item in scored if item[0].meta["head"] == MAJORITY_HEAD]
    for item in [one for one in majority if one[1].test_set == best.sample.test_set][:1]:
        text += _above_majority(best, item, metric)
    return [text + "."]


def _separated(best: Method, rows: dict[str, dict[Any, Any]], marks: pd.DataFrame) -> str:
    if marks["why"].any():
        return f"; not compared with the others: {marks['why'].iloc[0]}"
    others = marks[marks["run"] != best.name]
    same = others["same"].astype(bool)
    alike, close = ([rows[name]["name"] for name in others.loc[s, "run"]] for s in (same, ~same))
    text = f"; {IDENTICAL}: {_listed(alike)}" if alike else ""
    if close:
        text += f"; paired comparisons do not separate it from {_listed(close)}"
        return text + _needed(best, rows, marks.iloc[0].to_dict(), len(close))
    if len(alike) == len(rows) - 1:
        return text
    whole = marks["rivals"].iloc[0] == len(rows) - 1
    every = "every other method" if whole else "every method but other depths of its backbone"
    return f"{text}; paired comparisons separate it from {every}"


def _needed(best: Method, rows: dict[str, dict[Any, Any]], mark: dict[Any, Any], close: int) -> str:
    """Say how many groups would separate the best from the second, if that is known."""
    needed = float(mark["needed"])
    about = {"unit": best.sample.unit, "split": best.sample.split}
    if np.isnan(needed) and len(best.runs) == 2:
        again = again_word(best.sample.split)
        return f"; two {again}s are too few to say how many {units_word(about)} would"
    if np.isnan(needed):
        return ""
    number = "no number of" if np.isinf(needed) else f"about {needed_word(needed)}"
    second = f" from {rows[mark['second']]['name']}" if close > 1 else ""
    return f"; {number} {units_word(about)} would{second}"


def _above_majority(best: Method, majority: Scored, metric: str) -> str:
    if of_probabilities(metric):
        return ""
    answer = majority[1].classes[int(majority[1].prediction[0])]
    runs = tuple((run, _numbered(sample)) for run, sample in best.runs)
    run, sample = runs[0]
    always = np.full_like(sample.truth, sample.classes.index(answer))
    of_none = replace(run, meta={**run.meta, CURVE: None})
    constant = Method(((of_none, replace(sample, prediction=always, probs=None)),))
    found = compare_methods([Method(runs), constant], Options(metric))[0].found
    assert found is not None
    level = _value(found.estimate_b, metric)
    if found.verdict == IDENTICAL:
        return f". Always giving the commonest answer gives {IDENTICAL}"
    if found.verdict == "better":
        return f". Always giving the commonest answer scores {level}"
    return f". Not clearly better than always giving the commonest answer, {level}"


def _numbered(sample: Sample) -> Sample:
    """Name rows where the file does not: the same rows are compared with each other."""
    if sample.ids is not None:
        return sample
    return replace(sample, ids=np.arange(len(sample.truth)).astype(object))


def _row(method: Method, part: pd.DataFrame, metric: str) -> dict[Any, Any]:
    """Give the score of a method; over several seeds their mean."""
    row: dict[Any, Any] = part.set_index("run", drop=False).loc[method.name].to_dict()
    if len(method.runs) > 1:
        # As the table has it, where seeds gave the same predictions.
        options: dict[str, Any] = {
            "ci": row["method"] if row["method"] in INTERVALS else "auto",
            "replicates": int(row["replicates"]) or None,
            "seed": int(row["seed"]),
        }
        row |= over_seeds(method.runs, metrics=[metric], **options).iloc[0].to_dict()
    return row


def _value(value: float, metric: str) -> str:
    return number(value, metric) + "%" * is_share(metric)


def _score(row: dict[Any, Any], metric: str) -> str:
    if pd.isna(row["low"]):
        return f"{_value(row['estimate'], metric)} {no_interval(row['notes'])}"
    bounds = [_value(row[side], metric).removesuffix("%") for side in ("low", "high")]
    return f"{_value(row['estimate'], metric)} [{', '.join(bounds)}]"


def _listed(names: Sequence[str], limit: int = 2) -> str:
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)

"""The answer in sentences, with its uncertainty; claims no more than the intervals carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from frostline.report.evaluation import MAJORITY_HEAD
from frostline.report.layout import describe, percent, trained_word
from frostline.report.metrics import find_metric

Record = dict[str, Any]
MEANS = "replicate-mean"


def answer(frame: pd.DataFrame, primary: str = "accuracy") -> list[str]:
    """Sentences: whether freezing helped, then which run is best, for every data set.

    Intervals of single runs are compared by whether they overlap. That is cautious: a paired
    comparison of the same images can tell runs apart whose intervals overlap.

    Parameters
    ----------
    frame : DataFrame
        What `evaluate` returned.
    primary : str
        The one metric that decides.
    """
    if primary not in set(frame["metric"]):
        primary = str(frame["metric"].iloc[0])
    freezing, best = [], []
    for dataset in frame["dataset"].unique():
        part = frame[(frame["dataset"] == dataset) & (frame["metric"] == primary)]
        place = f"On {dataset}, " if dataset else ""
        labels = describe(part)
        records = [row | {"name": _name(row, labels)} for row in part.to_dict("records")]
        models = [row for row in records if row["head"] != MAJORITY_HEAD]
        majority = [row for row in records if row["head"] == MAJORITY_HEAD]
        title = find_metric(primary).title.lower()
        freezing += _freezing(models, title, place)
        best.append(_best(models, majority, title, place))
    return [sentence[:1].upper() + sentence[1:] for sentence in (*freezing, *best)]


def _best(models: list[Record], majority: list[Record], title: str, place: str) -> str:
    ranked = sorted(models, key=lambda row: -row["estimate"])
    best, others = ranked[0], ranked[1:]
    text = f"{place}{best['name']} scored {title} {_score(best)}"
    if others:
        text = f"{place}{best['name']} scored highest: {title} {_score(best)}"
    if others and best["method"] == MEANS:
        text += "; these are intervals of the bootstrap mean and cannot tell runs apart"
    elif others:
        close = [row for row in others if _overlap(best, row)]
        if close:
            names = _listed([str(row["name"]) for row in close])
            text += f"; its interval overlaps that of {names}, so it is not clearly best"
        else:
            text += "; its interval overlaps no other's"
    text += "."
    for row in majority[:1]:
        level = percent(row["estimate"])
        if not best["low"] > row["estimate"]:
            text += f" Not clearly better than always giving the commonest answer, {level}%."
        else:
            text += f" Always giving the commonest answer scores {level}%."
    return text


def _freezing(models: list[Record], title: str, place: str) -> list[str]:
    """Frozen against unfrozen of the same backbone, protocol and weights."""
    kin: dict[tuple[str, ...], list[Record]] = {}
    for row in models:
        if row["backbone"] and row["unfreeze"]:
            kind = "random" if str(row["weights"]).startswith("random") else str(row["weights"])
            kin.setdefault((row["backbone"], row["protocol"], kind), []).append(row)
    pairs = {}
    for key, rows in kin.items():
        frozen = [row for row in rows if row["unfreeze"] == "none"]
        tuned = [row for row in rows if row["unfreeze"] != "none"]
        if frozen and tuned:
            pairs[key] = frozen, tuned
    sentences = []
    for (backbone, protocol, weights), (frozen, tuned) in pairs.items():
        one, other = _top(frozen), _top(tuned)
        alone = sum(key[0] == backbone for key in pairs) == 1
        about = "" if alone else f" ({protocol}, {weights or 'weights not said'})"
        sentences.append(
            f"{place}freezing {backbone}{about} scored {_gap(one, other)} "
            f"{_tuning(other['unfreeze'])}: {title} {_score(one)}{_of(frozen)} against "
            f"{_score(other)}{_of(tuned)}; {_relation(one, other)}."
        )
    return sentences


def _gap(one: Record, other: Record) -> str:
    points = 100 * (one["estimate"] - other["estimate"])
    if round(points, 1) == 0:
        return "the same as"
    return f"{abs(points):.1f} points {'higher' if points > 0 else 'lower'} than"


def _tuning(unfreeze: str) -> str:
    if unfreeze.isdigit():
        return "fine-tuning its last " + ("block" if unfreeze == "1" else f"{unfreeze} blocks")
    return "fine-tuning it" if unfreeze == "all" else f"fine-tuning it ({unfreeze})"


def _name(row: Record, labels: dict[str, tuple[str, str]]) -> str:
    model, details = labels[row["run"]]
    way = trained_word(str(row["unfreeze"]))
    words = ", ".join(word for word in (way, details) if word)
    return f"{model} ({words})" if words else model


def _score(row: Record) -> str:
    if pd.isna(row["low"]):
        return f"{percent(row['estimate'])}% (no interval)"
    return f"{percent(row['estimate'])}% [{percent(row['low'])}, {percent(row['high'])}]"


def _relation(one: Record, other: Record) -> str:
    if MEANS in (one["method"], other["method"]):
        return "these are intervals of the bootstrap mean and cannot tell runs apart"
    if pd.isna(one["low"]) or pd.isna(other["low"]):
        return "without intervals this settles nothing"
    overlap = _overlap(one, other)
    return f"the intervals {'overlap, so this is undecided' if overlap else 'do not overlap'}"


def _overlap(one: Record, other: Record) -> bool:
    if pd.isna(one["low"]) or pd.isna(other["low"]):
        return True
    return bool(one["low"] <= other["high"] and other["low"] <= one["high"])


def _top(rows: Sequence[Record]) -> Record:
    return max(rows, key=lambda row: float(row["estimate"]))


def _of(rows: Sequence[Record]) -> str:
    return f" (best of {len(rows)})" if len(rows) > 1 else ""


def _listed(names: Sequence[str], limit: int = 2) -> str:
    if len(names) > limit:
        return f"{', '.join(names[:limit])} and {len(names) - limit} more"
    return " and ".join(names)

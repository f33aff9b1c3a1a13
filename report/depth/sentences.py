"""The answer in words: where to read, what training adds, and what validation is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from frostline.report.depth.curve import Curves
from frostline.report.notes import no_interval
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.metrics import find_metric
from frostline.report.tables.numbers import is_share, number
from frostline.report.tables.plans import needed_sentence
from frostline.report.tables.positive import metric_words

Record = Mapping[Any, Any]
# Validation and test differ in more than luck beyond so many standard errors of their gap.
FAR_APART = 3.0
# Half of the width of a 95% interval in standard errors.
HALF_WIDTH = 1.96


def depth_sentences(curves: Curves) -> list[str]:
    """Answer for each backbone: first where to read it, then what is known of the rest."""
    return [
        sentence
        for backbone in curves.table["backbone"].unique()
        for sentence in _of_backbone(curves, str(backbone))
    ]


def place_words(row: Record, blocks: int) -> str:
    """Say where a point of the reading curve lies, of so many blocks."""
    if row["depth"] == 0:
        return "behind its stem"
    if row["depth"] == blocks:
        return "at its last layer"
    return f"at block {row['depth']} of {blocks}"


def trained_words(row: Record, blocks: int) -> str:
    """Say what a point of the training curve trains."""
    count = blocks - row["depth"]
    if row["depth"] < 0:
        return "the whole network"
    return "the last block" if count == 1 else f"the last {count} blocks"


def _of_backbone(curves: Curves, backbone: str) -> Iterator[str]:
    part = curves.table[curves.table["backbone"] == backbone]
    blocks = curves.places[backbone][-1].depth
    chosen = {row["road"]: row for row in part[part["chosen"]].to_dict("records")}
    if not chosen:
        yield f"No depth of {backbone} is chosen, because no run was scored on validation images."
    asked = curves.differences[curves.differences["backbone"] == backbone]
    found = {row["question"]: row for row in asked.to_dict("records")}
    read, train = chosen.get("read"), chosen.get("train")
    nested = part[part["road"] == "nested"].to_dict("records")
    if read:
        share = f" ({100 * read['cost']:.0f}% of its forward pass)" if read["cost"] < 1 else ""
        said = _score(nested[0] if nested else read)
        repeated = ", with the choice repeated in every fold" if nested else ""
        yield f"Read {backbone} {place_words(read, blocks)}{share}: {said}{repeated}."
        yield from _last_layer(found.get("last layer"), read, blocks)
    if train and read:
        yield from _training(found["training"], train, read, blocks)
    elif train:
        yield f"Train {trained_words(train, blocks)} of {backbone}: {_score(train)}."
    for row in chosen.values():
        yield from _misled(row)


def _last_layer(found: Record | None, read: Record, blocks: int) -> Iterator[str]:
    if found is None:
        if read["depth"] == blocks:
            yield "No cheaper depth came within one standard error of it on validation."
        return
    if found["verdict"] == IDENTICAL:
        yield f"Its last layer gives {IDENTICAL}."
        return
    word = "worse" if _ahead(found) else "better"
    said = f"{_size(found)} {word} {_interval(found)}"
    if found["verdict"] in ("better", "worse"):
        yield f"Its last layer is {said}."
    else:
        yield f"Whether its last layer differs is undecided: {said}. {needed_sentence(found)}"


def _training(found: Record, train: Record, read: Record, blocks: int) -> Iterator[str]:
    what = trained_words(train, blocks)
    times = _times(train, read)
    if found["verdict"] == IDENTICAL:
        yield f"Training {what} gives {IDENTICAL}{times}."
        return
    verb = "adds" if _ahead(found) else "costs"
    said = f"{_size(found)} {_interval(found)}{times}"
    if found["verdict"] in ("better", "worse"):
        yield f"Training {what} {verb} {said}."
        return
    undecided = f"Whether training {what} {verb} anything is undecided: {said}."
    yield f"{undecided} {needed_sentence(found)}".rstrip()


def _misled(row: Record) -> Iterator[str]:
    """Say where validation was much better than test images are."""
    metric = row["metric"]
    test_error = (row["high"] - row["low"]) / 2 / HALF_WIDTH
    gap = row["val_estimate"] - row["estimate"]
    gap = gap if find_metric(metric).higher else -gap
    error = float((test_error**2 + row["val_error"] ** 2) ** 0.5)
    if gap > FAR_APART * error:
        road = "reading" if row["road"] == "read" else "training"
        sign = "%" * is_share(metric)
        yield (
            f"Validation does not speak for this test set: the choice for {road} scored "
            f"{number(row['val_estimate'], metric)}{sign} there and "
            f"{number(row['estimate'], metric)}{sign} here, a gap of more than luck, and depth was "
            "chosen there."
        )


def _ahead(found: Record) -> bool:
    """Whether the first of a question's two is the better one."""
    return bool((found["difference"] > 0) == find_metric(found["metric"]).higher)


def _score(row: Record) -> str:
    metric, sign = row["metric"], "%" * is_share(row["metric"])
    words = f"{metric_words(row)} {number(row['estimate'], metric)}{sign}"
    if pd.isna(row["low"]):
        return f"{words} {no_interval(row['notes'])}"
    return f"{words} [{number(row['low'], metric)}, {number(row['high'], metric)}]"


def _size(row: Record) -> str:
    """Write how large a difference is, without its sign."""
    text = number(abs(row["difference"]), row["metric"])
    return f"{text} points" if is_share(row["metric"]) else text


def _interval(row: Record) -> str:
    """Write the interval of the size of a difference."""
    metric, low, high = row["metric"], row["low"], row["high"]
    if pd.isna(low):
        return no_interval(row["notes"])
    low, high = (-high, -low) if row["difference"] < 0 else (low, high)
    return f"[{number(low, metric, sign='-')}, {number(high, metric, sign='-')}]"


def _times(train: Record, read: Record) -> str:
    """Say how much longer training took, where both are known."""
    if not (train["seconds"] > 0 and read["seconds"] > 0):
        return ""
    ratio = train["seconds"] / read["seconds"]
    digits = 0 if ratio >= 10 else 1
    return f" at {ratio:,.{digits}f} times the time"

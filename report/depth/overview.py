"""Depth of all data sets in one table: a row for each data set and backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from frostline.report.depth.curve import Curves
from frostline.report.depth.sentences import place_words, trained_words
from frostline.report.statistics.comparisons.decisions import IDENTICAL
from frostline.report.statistics.names import NONE, Record
from frostline.report.tables.numbers import difference_cell, is_share, score_cell
from frostline.report.tables.positive import metric_title, shared
from frostline.report.tables.table import Cell, Row, Table, columns

CAPTION = "Where to read each backbone, and whether to train it"
WORDS = ("Data set", "Backbone", "Read")
LAST = ("Trained", "Cost")
NUMBERS = ("Score there", "Last layer", "Training")
VERDICTS = {"equivalent": "no difference that matters", IDENTICAL: IDENTICAL}


def depth_table(found: Sequence[Curves], links: Sequence[str] = ()) -> Table:
    """Lay out what was chosen: one row for each data set and backbone.

    *Last layer* and *Training* are differences in score, of each less reading where it says. The
    cost is the share of the forward pass that reading needs, and the time that training took.

    Parameters
    ----------
    found : sequence of Curves
        One a data set.
    links : sequence of str
        Of each data set the place in the page where more is said.
    """
    rows = [
        Row(tuple(_cells(curves, backbone, link)))
        for curves, link in zip(found, links or [""] * len(found), strict=True)
        for backbone in map(str, curves.table["backbone"].unique())
    ]
    score, *differences = NUMBERS
    metrics = {curves.metric for curves in found}
    if len(metrics) == 1:
        metric = metrics.pop()
        about = shared(pd.concat([curves.table for curves in found]), metric)
        score = metric_title(about) + " (%)" * (is_share(metric) and not about["positive"])
    numbers = columns([score, *differences], left=0)
    return Table((*columns(WORDS, 3), *numbers, *columns(LAST, 2)), tuple(rows), (), CAPTION)


def _cells(curves: Curves, backbone: str, link: str) -> Iterator[Cell]:
    part = curves.table[curves.table["backbone"] == backbone]
    blocks = curves.places[backbone][-1].depth
    chosen = {row["road"]: row for row in part[part["chosen"]].to_dict("records")}
    nested = part[part["road"] == "nested"].to_dict("records")
    asked = curves.differences[curves.differences["backbone"] == backbone]
    differences = {row["question"]: row for row in asked.to_dict("records")}
    read, train = chosen.get("read"), chosen.get("train")
    yield Cell(str(part["dataset"].iloc[0] or NONE), link=link)
    yield Cell(backbone)
    if read is None:
        yield from (Cell("not chosen"), *[_none()] * 3, Cell(NONE), Cell(NONE))
        return
    yield Cell(_place(read, blocks), str(read["block"]) if 0 < read["depth"] < blocks else "")
    yield score_cell(nested[0] if nested else read)
    at_end = read["depth"] == blocks
    yield _none("is read") if at_end else _difference(differences.get("last layer"), sign=-1)
    yield _difference(differences.get("training"))
    what = NONE if train is None else trained_words(train, blocks).removeprefix("the ")
    yield Cell(what)
    known = train is not None and train["seconds"] > 0
    time = f"{_time(float(train['seconds']))} to train" if known and train else ""
    yield Cell(f"{100 * read['cost']:.0f}% to read", time)


def _place(read: Record, blocks: int) -> str:
    """Write where to read in as few words as a cell has room for."""
    text = place_words(read, blocks)
    return text.removeprefix("at ").removeprefix("its ").removeprefix("behind its ")


def _none(text: str = NONE) -> Cell:
    return Cell(text, value=float("nan"))


def _difference(row: Record | None, *, sign: int = 1) -> Cell:
    """Write a difference with its verdict, turned round where `sign` is -1."""
    if row is None:
        return _none()
    low, high = sorted(sign * row[side] for side in ("low", "high"))
    turned: dict[Any, Any] = {
        **row,
        "difference": sign * row["difference"],
        "low": low,
        "high": high,
    }
    if pd.isna(row["low"]):
        turned |= {"low": row["low"], "high": row["high"]}
    cell = difference_cell({**turned, "verdict": "undecided"})
    verdict = str(row["verdict"])
    if verdict in ("better", "worse") and sign < 0:
        verdict = "worse" if verdict == "better" else "better"
    text = f"{cell.text}, {VERDICTS.get(verdict, verdict)}"
    return Cell(text, cell.detail, cell.low, cell.high, value=cell.value)


def _time(seconds: float) -> str:
    """Write a duration in hours, minutes or seconds."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} s" if seconds >= 10 else f"{seconds:.1f} s"

"""Scores of each class, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from frostline.report.notes import missing
from frostline.report.statistics.metrics import PER_CLASS
from frostline.report.tables.numbers import score_cell
from frostline.report.tables.table import Cell, Column, Row, Table

CLASS_METRICS = ("precision", "recall", "f1")
CLASS_SCORES = "Scores of each class in percent with 95% intervals"


def class_frame(
    scores: pd.DataFrame, titles: Mapping[str, str], counts: Mapping[str, int], of: str = "images"
) -> pd.DataFrame:
    """Put the scores of each class side by side.

    Parameters
    ----------
    scores : DataFrame
        Rows of `tabulate_methods`, with metrics such as `f1[melanoma]`.
    titles : mapping
        What each run's method is called.
    counts : mapping
        How many each class has.
    of : "images" or "groups"
        What is counted: where predictions are scored by patient, a row is a group.

    Returns
    -------
    DataFrame
        A row a method and class: `dataset`, `method`, `class`, `count`, `of`; then of each of
        `CLASS_METRICS` the fraction, its bounds such as `f1_low`, and why it has none: `f1_why`.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in scores.to_dict("records"):
        kind, _, label = str(row["metric"])[:-1].partition("[")
        about = {
            "dataset": row["dataset"],
            "method": titles[row["run"]],
            "class": label,
            "count": counts[label],
            "of": of,
        }
        cell = rows.setdefault((row["run"], label), about)
        cell |= {kind: row["estimate"], f"{kind}_low": row["low"], f"{kind}_high": row["high"]}
        cell |= {f"{kind}_why": missing(row["notes"]) if pd.isna(row["low"]) else ""}
    return pd.DataFrame(rows.values())


def class_table(classes: pd.DataFrame) -> Table:
    """Lay out what `class_frame` returned: one row for each class and method."""
    of = set(classes["of"])
    columns = (
        Column("Class"),
        Column("Method"),
        Column(of.pop().capitalize() if len(of) == 1 else "Count", True),
        *(Column(PER_CLASS[kind][1], True) for kind in CLASS_METRICS),
    )
    rows = tuple(
        Row(
            (
                Cell(row["class"]),
                Cell(row["method"]),
                Cell(f"{row['count']:,}", value=row["count"]),
                *(_score_cell(row, kind) for kind in CLASS_METRICS),
            ),
            row["dataset"],
        )
        for row in classes.to_dict("records")
    )
    return Table(columns, rows, (), CLASS_SCORES)


def _score_cell(row: Mapping[Any, Any], kind: str) -> Cell:
    score = {"metric": f"{kind}_weighted", "estimate": row[kind], "notes": ()}
    score |= {side: row[f"{kind}_{side}"] for side in ("low", "high")}
    return replace(score_cell(score), detail=row[f"{kind}_why"])

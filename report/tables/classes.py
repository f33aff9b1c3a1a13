"""Scores of each class, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from frostline.report.statistics.metrics import PER_CLASS
from frostline.report.tables.numbers import score_cell
from frostline.report.tables.table import Cell, Column, Row, Table

CLASS_METRICS = ("precision", "recall", "f1")
CLASS_SCORES = "Scores of each class in percent with 95% intervals"


def class_frame(
    scores: pd.DataFrame, titles: Mapping[str, str], images: Mapping[str, int]
) -> pd.DataFrame:
    """Put the scores of each class side by side.

    Parameters
    ----------
    scores : DataFrame
        Rows of `tabulate_methods`, with metrics such as `f1[melanoma]`.
    titles : mapping
        What each run's method is called.
    images : mapping
        The images of each class.

    Returns
    -------
    DataFrame
        A row a method and class: `dataset`, `method`, `class`, `images`; then of each of
        `CLASS_METRICS` the fraction, and its bounds such as `f1_low`.
    """
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in scores.to_dict("records"):
        kind, _, label = str(row["metric"])[:-1].partition("[")
        about = {
            "dataset": row["dataset"],
            "method": titles[row["run"]],
            "class": label,
            "images": images[label],
        }
        cell = rows.setdefault((row["run"], label), about)
        cell |= {kind: row["estimate"], f"{kind}_low": row["low"], f"{kind}_high": row["high"]}
    return pd.DataFrame(rows.values())


def class_table(classes: pd.DataFrame) -> Table:
    """Lay out what `class_frame` returned: one row for each class and method."""
    columns = (
        Column("Class"),
        Column("Method"),
        Column("Images", True),
        *(Column(PER_CLASS[kind][1], True) for kind in CLASS_METRICS),
    )
    rows = tuple(
        Row(
            (
                Cell(row["class"]),
                Cell(row["method"]),
                Cell(f"{row['images']:,}", value=row["images"]),
                *(score_cell(_score(row, kind)) for kind in CLASS_METRICS),
            ),
            row["dataset"],
        )
        for row in classes.to_dict("records")
    )
    return Table(columns, rows, (), CLASS_SCORES)


def _score(row: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    bounds = {side: row[f"{kind}_{side}"] for side in ("low", "high")}
    return {"metric": f"{kind}_weighted", "estimate": row[kind], **bounds}

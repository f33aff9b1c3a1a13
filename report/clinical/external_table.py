"""The table of internal and external scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from frostline.report.clinical.external import SIDES
from frostline.report.notes import Note
from frostline.report.tables.numbers import difference_cell, is_share, score_cell
from frostline.report.tables.positive import metric_title, shared
from frostline.report.tables.table import Cell, Column, Row, Table

HEADINGS = ("Internal", "External", "Difference", "Units internal", "Units external")


def external_table(frame: pd.DataFrame, metric: str, titles: Mapping[str, str]) -> Table:
    """Lay out what `internal_and_external` gives for one metric: a row a method and external set.

    Parameters
    ----------
    titles : mapping
        Of each method, by its internal run.
    """
    rows = []
    for row in frame[frame["metric"] == metric].to_dict("records"):
        name = titles.get(str(row["run"]), str(row["run"]))
        scores = (_score(row, side) for side in SIDES)
        counts = (Cell(f"{row[f'{side}_n_units']:,}") for side in SIDES)
        difference = difference_cell({**row, "verdict": ""})
        rows.append(Row((Cell(name), *scores, difference, *counts), str(row["dataset"]), name))
    columns = (Column("Model"), *(Column(name, True) for name in HEADINGS))
    points = ", in points" if is_share(metric) else ""
    notes = [
        Note(
            f"Difference: external less internal{points}, with a 95% interval; the patients of "
            "both are independent samples. It is not tested: hospitals differ, and the question is "
            "by how much."
        )
    ]
    if (frame["n_seeds"] > 1).any():
        notes.append(Note("The same seeds score both: what a seed does to both is no difference."))
    title = metric_title(shared(frame, metric))
    return Table(columns, tuple(rows), tuple(notes), f"{title}, internal and external")


def _score(row: Mapping[Any, Any], side: str) -> Cell:
    own = {end: row[f"{side}_{end}"] for end in ("estimate", "low", "high")}
    cell = score_cell({**own, "metric": row["metric"], "notes": ()})
    return replace(cell, detail=str(row[f"{side}_why"] or "") if pd.isna(own["low"]) else "")

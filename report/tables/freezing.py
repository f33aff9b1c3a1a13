"""Frozen against fine-tuned, as a table."""

from __future__ import annotations

import pandas as pd

from frostline.report.statistics.names import FREEZING_VERDICTS, trained_word
from frostline.report.tables.numbers import difference_cell, number, p_word
from frostline.report.tables.positive import metric_title
from frostline.report.tables.table import Cell, Column, Row, Table

WAYS = ("protocol", "weights", "head", "unfreeze", "unfrozen_head")


def freezing_table(differences: pd.DataFrame, metric: str) -> Table:
    """Lay out what `frozen_against_unfrozen` found for one data set: one row for each pair."""
    compared = differences[differences["difference"].notna()]
    columns = (
        Column("Backbone"),
        Column("Frozen", True),
        Column("Fine-tuned", True),
        Column("Difference", True),
        Column("Adjusted p", True),
        Column("Verdict"),
    )
    rows = tuple(
        Row(
            (
                Cell(name),
                *(
                    Cell(number(row[of], metric), value=float(row[of]))
                    for of in ("estimate_a", "estimate_b")
                ),
                difference_cell({**row, "metric": metric}),
                Cell(p_word(row["p_adjusted"]), value=float(row["p_adjusted"])),
                Cell(FREEZING_VERDICTS.get(row["verdict"], row["verdict"])),
            ),
            row["dataset"],
        )
        for name, row in zip(pair_names(compared), compared.to_dict("records"), strict=True)
    )
    positive = compared["positive"].iloc[0] if len(compared) else ""
    title = metric_title({"metric": metric, "positive": positive})
    return Table(columns, rows, (), f"{title}, frozen against fine-tuned")


def pair_names(differences: pd.DataFrame) -> list[str]:
    """Name each pair by its backbone, and by what else pairs of one backbone differ in."""
    ways = differences[list(WAYS)].astype(str)
    counts = ways.groupby(differences["backbone"]).nunique().max()
    differing = [str(name) for name in counts[counts > 1].index]
    names = []
    for row in differences.to_dict("records"):
        more = [
            trained_word(str(row[name])) if name == "unfreeze" else str(row[name])
            for name in differing
        ]
        names.append(", ".join([str(row["backbone"]), *filter(None, more)]))
    return names

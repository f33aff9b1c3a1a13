"""The data behind a report: its counts by split and class, and what an audit of it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from frostline.report.statistics.names import NONE
from frostline.report.tables.table import Column, Row, Table, words
from frostline.report.tables.writers.markdown import to_markdown

MOST_ROWS = 20  # of a table on the page
# What the table of cases that were read and left out is called among the flagged ones.
FLOW = "Flow of cases"
SPLITS_CAPTION = "Groups and images of each split"
CLASSES_CAPTION = "images and groups of each class by split"


@dataclass(frozen=True)
class DataAudit:
    """What is known of one data set, as plain tables.

    Attributes
    ----------
    splits : DataFrame
        One row: the data set, its groups and images of each split, its classes (Table I of the
        paper).
    classes : DataFrame
        A row a class: its images and groups of each split (Table II of the paper).
    findings : sequence of (str, str)
        How bad it is ("leak", "warning" or "note"), and a sentence.
    flagged : mapping of str to DataFrame
        What the sentences are about, by its caption; empty tables are left out.
    details : DataFrame
        All images that the findings are about, in one table.
    origin : str
        Sentences on where the splits come from; "" where that is not known.
    shared : sequence of str
        Of an external data set, what it shares with the one whose runs are scored on it.
    """

    splits: pd.DataFrame
    classes: pd.DataFrame
    findings: Sequence[tuple[str, str]] = ()
    flagged: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    details: pd.DataFrame = field(default_factory=pd.DataFrame)
    origin: str = ""
    shared: Sequence[str] = ()

    @property
    def leaks(self) -> bool:
        """Whether a leak was found."""
        return any(severity == "leak" for severity, _ in self.findings)


def splits_table(audits: Mapping[str, DataAudit]) -> Table:
    """Lay out the groups and images of each split, one row for each data set."""
    frame = pd.concat([audit.splits for audit in audits.values()], ignore_index=True)
    return frame_table(frame, SPLITS_CAPTION)


def classes_table(dataset: str, audit: DataAudit, most: int | None = None) -> Table:
    """Lay out the images and groups of each class; of more than `most` rows the first."""
    return frame_table(audit.classes, f"{dataset}: {CLASSES_CAPTION}", most)


def flagged_tables(
    dataset: str, audit: DataAudit, most: int | None = None
) -> list[tuple[str, Table]]:
    """Lay out what the findings of an audit are about, by caption; empty tables are left out."""
    return [
        (caption, frame_table(frame, f"{dataset}: {caption}", most))
        for caption, frame in audit.flagged.items()
        if len(frame)
    ]


def data_markdown(audits: Mapping[str, DataAudit]) -> str:
    """Write the tables of splits and of classes, whole, as pipe tables under their captions."""
    tables = [splits_table(audits)]
    tables += [classes_table(dataset, audit) for dataset, audit in audits.items()]
    return "\n".join(map(to_markdown, tables))


def frame_table(frame: pd.DataFrame, caption: str, most: int | None = None) -> Table:
    """Lay out any frame by the names of its columns; of more than `most` rows the first."""
    part = frame if most is None else frame.head(most)
    if len(part) < len(frame):
        caption = f"{caption}, the first {len(part)} of {len(frame):,} rows"
    columns = tuple(
        Column(_heading(str(name)), numbers=_is_number(frame[name])) for name in frame.columns
    )
    rows = part.astype(object).itertuples(index=False, name=None)
    return Table(columns, tuple(Row(words(*map(_text, row))) for row in rows), (), caption)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _heading(name: str) -> str:
    text = name.replace("_", " ").replace("dataset", "data set")
    return text[:1].upper() + text[1:]


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return NONE
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)

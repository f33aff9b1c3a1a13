"""The data behind a report: its counts by split and class, and what an audit of it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from frostline.report.tables import escape

SHOWN = 20  # rows of a table on the page
UNBROKEN = 10  # characters of a word that a narrow column must not break
NONE = "\N{EN DASH}"
SPLITS_CAPTION = "Groups and images of each split"
CLASSES_CAPTION = "Images and groups of each class by split"


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
    """

    splits: pd.DataFrame
    classes: pd.DataFrame
    findings: Sequence[tuple[str, str]] = ()
    flagged: Mapping[str, pd.DataFrame] = field(default_factory=dict)


@dataclass(frozen=True)
class TextTable:
    """A table as text; `cut` says how much of it is there, and is empty if all of it is."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    cut: str


@dataclass(frozen=True)
class DataBlock:
    """One data set of the section."""

    dataset: str
    findings: tuple[tuple[str, str], ...]
    classes: TextTable
    flagged: tuple[TextTable, ...]


@dataclass(frozen=True)
class DataSection:
    """The section of the page; `leaking` names the data sets that have a leak."""

    splits: TextTable
    blocks: tuple[DataBlock, ...]
    leaking: tuple[str, ...]


def make_section(audits: Mapping[str, DataAudit]) -> DataSection:
    """Lay out the audits of data sets, given by name; of long tables the first `SHOWN` rows."""
    blocks = tuple(
        DataBlock(
            dataset,
            tuple(audit.findings),
            _table(CLASSES_CAPTION, audit.classes, SHOWN),
            tuple(_table(name, rows, SHOWN) for name, rows in audit.flagged.items() if len(rows)),
        )
        for dataset, audit in audits.items()
    )
    leaking = (
        block.dataset
        for block in blocks
        if any(severity == "leak" for severity, _ in block.findings)
    )
    return DataSection(_table(SPLITS_CAPTION, _all_splits(audits)), blocks, tuple(leaking))


def to_markdown(audits: Mapping[str, DataAudit]) -> str:
    """Write the tables of splits and of classes, whole, as pipe tables under their captions."""
    tables = [_table(SPLITS_CAPTION, _all_splits(audits))]
    tables += [
        _table(f"{dataset}: {CLASSES_CAPTION.lower()}", audit.classes)
        for dataset, audit in audits.items()
    ]
    return "\n".join(map(_pipe_table, tables))


def is_short(text: str) -> bool:
    """Whether the words of a text are short enough to be left whole in a narrow column."""
    return all(len(word) <= UNBROKEN for word in text.split())


def _all_splits(audits: Mapping[str, DataAudit]) -> pd.DataFrame:
    return pd.concat([audit.splits for audit in audits.values()], ignore_index=True)


def _table(caption: str, frame: pd.DataFrame, shown: int | None = None) -> TextTable:
    part = frame if shown is None else frame.head(shown)
    rows = part.astype(object).itertuples(index=False, name=None)
    return TextTable(
        caption,
        tuple(_heading(str(name)) for name in frame.columns),
        tuple(tuple(map(_text, row)) for row in rows),
        f"the first {len(part)} of {len(frame):,} rows" if len(part) < len(frame) else "",
    )


def _heading(name: str) -> str:
    words = name.replace("_", " ").replace("dataset", "data set")
    return words[:1].upper() + words[1:]


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


def _pipe_table(table: TextTable) -> str:
    lines = [
        table.headings,
        ["---", *["---:"] * (len(table.headings) - 1)],
        *([escape.markdown(cell) for cell in row] for row in table.rows),
    ]
    body = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"**{escape.markdown(table.caption)}**\n\n{body}\n"

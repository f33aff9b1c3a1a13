"""Tables as they are shown, for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from frostline.cache.tables.words import MINUS
from frostline.report.tables.escape import spreadsheet
from frostline.report.tables.table import Cell, Row, Table


def to_csv(table: Table) -> str:
    """Write one line for each row, numbers as they are shown but for the sign, which is ASCII.

    A score has columns for its bounds.

    Notes are left out. `mark` is that of the row: `ALONE`, `ALIKE` or empty, as in `Cell`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(spreadsheet, _headings(table)))
    scores = [_is_score(table, place) for place in range(len(table.columns))]
    for row in table.rows:
        texts = [
            [text.replace(MINUS, "-") if column.numbers else text for text in _texts(cell, score)]
            for column, cell, score in zip(table.columns, row.cells, scores, strict=True)
        ]
        if any(scores):
            texts.insert(scores.index(True), [_mark(row)])
        named = [row.dataset] if any(table.datasets) else []
        writer.writerow(map(spreadsheet, [*named, *(text for cell in texts for text in cell)]))
    return out.getvalue()


def _headings(table: Table) -> list[str]:
    names = ["data set"] if any(table.datasets) else []
    scores = [_is_score(table, place) for place in range(len(table.columns))]
    for place, column in enumerate(table.columns):
        if scores[place] and not any(scores[:place]):
            names.append("mark")
        name = column.heading
        names += [name, f"{name} low", f"{name} high"] if scores[place] else [name.lower()]
    return names


def _texts(cell: Cell, score: bool) -> Iterator[str]:
    yield cell.text if score else cell.label
    if score:
        yield from (cell.low, cell.high)


def _is_score(table: Table, place: int) -> bool:
    """Say whether a column has intervals."""
    return bool(table.columns[place].metric) or any(row.cells[place].low for row in table.rows)


def _mark(row: Row) -> str:
    return next((cell.mark for cell in row.cells if cell.mark), "")

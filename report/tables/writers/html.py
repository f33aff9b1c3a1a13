"""Tables in HTML: for the page, for notebooks, and to be put into other pages."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence

from frostline.cache.tables.words import counted
from frostline.report.tables import escape
from frostline.report.tables.note_lines import split_notes
from frostline.report.tables.table import Cell, Column, Row, Table

# Shaded: in a page, underlined words are links.
AROUND = {
    "": ("", ""),
    "alike": ("<mark>", "</mark>"),
    "alone": ("<mark><strong>", "</strong></mark>"),
}
LINES = ("Shaded", "shaded and bold")
MOST_NOTES = 2
# For those who do not see the shade.
SPOKEN = '<span class="hidden"> (not separated from the best)</span>'
UNBROKEN = 11  # characters of a word that a narrow column does not break


def table_html(table: Table) -> str:
    """Write one `table` for each data set, without style, then the notes.

    Notes for which there is no room are folded away. Everybody's text is escaped.
    """
    lines = [line for name, rows in table.parts() for line in _table(table, name, rows)]
    return "\n".join([*lines, *_notes(table)]) + "\n"


def _table(table: Table, dataset: str, rows: Sequence[Row]) -> Iterator[str]:
    # Roles are said because the page shows rows as cards on a telephone, which are no table.
    sortable = any(cell.value is not None for row in rows for cell in row.cells)
    yield f'<table role="table" class="{"sortable " * sortable}cards">'
    title = ": ".join(_isolated(text) for text in (dataset, table.caption) if text)
    yield f"<caption>{title}</caption>"
    yield '<thead role="rowgroup"><tr role="row">'
    for column in table.columns:
        short = _classes(column, column.heading)
        yield f'<th scope="col" role="columnheader"{short}>{_isolated(column.heading)}</th>'
    yield "</tr></thead>"
    yield '<tbody role="rowgroup">'
    for row in rows:
        yield '<tr role="row">'
        for place, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True)):
            yield _cell(column, cell, first=place == 0)
        yield "</tr>"
    yield "</tbody>"
    yield "</table>"


def _cell(column: Column, cell: Cell, first: bool) -> str:
    start, end = AROUND[cell.mark]
    shown = cell.text if cell.value is not None else _isolated(cell.text)
    text = f"{start}{shown}{end}"
    if cell.link:
        text = f'<a href="#{_escaped(cell.link)}">{text}</a>'
    if cell.detail:
        text += f"<br><small>{_isolated(cell.detail)}</small>"
    if first and cell.mark == "alike":
        text += SPOKEN
    if cell.low:
        spans = (f'<span class="interval">{one}</span>' for one in cell.intervals)
        text = f'<span class="score"><span>{text}</span> {" ".join(spans)}</span>'
    value = "" if cell.value is None else f' data-value="{_value(cell.value)}"'
    about = f'data-label="{_escaped(column.heading)}"{value}{_classes(column, cell.text)}'
    if first:
        return f'<th scope="row" role="rowheader" {about}>{text}</th>'
    return f'<td role="cell" {about}>{text}</td>'


def _value(number: float) -> str:
    """Write what a cell is sorted by; empty for what is not a number, which comes last."""
    return "" if math.isnan(number) else f"{number:.6g}"


def _classes(column: Column, text: str) -> str:
    short = all(len(word) <= UNBROKEN for word in text.split())
    names = [*["text"] * (not column.numbers), *["short"] * short]
    return f' class="{" ".join(names)}"' if names else ""


def _notes(table: Table) -> Iterator[str]:
    shown, rest = split_notes(table, LINES, MOST_NOTES)
    if shown:
        yield _list(shown)
    if rest:
        count = counted(len(rest), "note", "more")
        yield f"<details><summary>{count}</summary>\n{_list(rest)}\n</details>"


def _list(notes: Sequence[str]) -> str:
    items = "\n".join(f"<li>{_isolated(note)}</li>" for note in notes)
    return f'<ul class="notes quiet">\n{items}\n</ul>'


def _escaped(text: str) -> str:
    return html.escape(escape.plain(text))


def _isolated(text: str) -> str:
    """Write text whose direction of writing does not change that of its neighbours."""
    return f"<bdi>{html.escape(escape.unbroken(escape.plain(text)))}</bdi>"

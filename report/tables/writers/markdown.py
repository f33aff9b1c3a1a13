"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from frostline.report.tables import escape
from frostline.report.tables.note_lines import left_out, split_notes
from frostline.report.tables.table import Cell, Table

AROUND = {"": ("", ""), "alike": ("<ins>", "</ins>"), "alone": ("**", "**")}


def to_markdown(table: Table) -> str:
    """Write a pipe table with its caption above and its notes below."""
    named = any(table.datasets)
    rules = ["---:" if column.numbers else "---" for column in table.columns]
    lines = [f"**{escape.markdown(table.caption)}**", ""] if table.caption else []
    headings = [escape.markdown(column.heading) for column in table.columns]
    lines.append(_pipes([*["Data set"] * named, *headings]))
    lines.append(_pipes([*["---"] * named, *rules]))
    for dataset, rows in table.parts():
        for number, row in enumerate(rows):
            name = "" if number else escape.markdown(dataset)
            lines.append(_pipes([*[name] * named, *map(_cell, row.cells)]))
    shown, rest = split_notes(table)
    notes = [f"{escape.markdown_note(note)}  " for note in (*shown, *left_out(table, rest))]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def _cell(cell: Cell) -> str:
    start, end = AROUND[cell.mark]
    return " ".join([f"{start}{escape.markdown(cell.label)}{end}", *cell.intervals])


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"

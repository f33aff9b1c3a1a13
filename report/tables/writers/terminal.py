"""Tables for a terminal."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from frostline.report.tables import escape
from frostline.report.tables.note_lines import left_out, split_notes
from frostline.report.tables.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    import rich.table

LEAST_NAME = 10  # columns of the terminal
MARKS = ("*", "**")
STARS = {"": "", "alike": "*", "alone": "**"}


def to_terminal(table: Table, width: int = 80) -> str:
    """Write a table of at most `width` columns, a part for each data set, then its notes.

    Intervals stand behind their estimates where there is room, else below them.
    """
    below = _natural_width(table) > width and any(c.low for row in table.rows for c in row.cells)
    parts = [_part(table, dataset, rows, below, width) for dataset, rows in table.parts()]
    return _printed([*parts, *notes_to_terminal(table)], width)


def notes_to_terminal(table: Table) -> list[str]:
    """The notes alone, each a line that is not yet wrapped."""
    shown, rest = split_notes(table, MARKS)
    return [escape.plain(note) for note in (*shown, *left_out(table, rest))]


def wrapped(paragraphs: Iterable[str], width: int = 80) -> str:
    """Paragraphs in lines of at most `width`; an empty one is an empty line."""
    return _printed(map(escape.plain, paragraphs), width)


def _part(
    table: Table, dataset: str, rows: list[Row], below: bool, width: int
) -> tuple[rich.table.Table, str]:
    from rich.table import Table as Drawn
    from rich.text import Text

    title = Text(escape.plain(dataset)) if dataset else None
    drawn = Drawn(
        title=title,
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    widths = [
        _width(column, place, table.rows, below) for place, column in enumerate(table.columns)
    ]
    taken = sum(w for w, column in zip(widths, table.columns, strict=True) if column.numbers)
    left = max(width - taken - len(widths), LEAST_NAME)
    for place, (column, own) in enumerate(zip(table.columns, widths, strict=True)):
        if column.numbers:
            heading = textwrap.fill(column.heading, max(own, 1), break_long_words=False)
            drawn.add_column(heading, justify="right", no_wrap=True)
        else:
            # Words give way to numbers.
            drawn.add_column(
                column.heading, overflow="fold", ratio=1 if below and not place else None
            )
    for row in rows:
        cells = [
            _number(cell, below) if column.numbers else _word(cell, left)
            for cell, column in zip(row.cells, table.columns, strict=True)
        ]
        drawn.add_row(*map(Text, cells))
    return drawn, ""


def _number(cell: Cell, below: bool) -> str:
    text = f"{STARS[cell.mark]}{escape.plain(cell.text)}"
    return f"{text}\n{cell.interval}" if below else f"{text} {cell.interval}".rstrip()


def _word(cell: Cell, width: int) -> str:
    text = escape.plain(cell.text, 60)
    detail = f"\n{escape.plain(cell.detail, 80)}" if cell.detail else ""
    return _broken(text + detail, width)


def _width(column: Column, place: int, rows: Iterable[Row], below: bool) -> int:
    """The least width of a column of numbers; the natural one of words."""
    cells = [row.cells[place] for row in rows]
    if not column.numbers:
        texts = [part for cell in cells for part in (cell.text, cell.detail)]
        return max(map(len, [column.heading, *texts]))
    lines = [line for cell in cells for line in _number(cell, below).split("\n")]
    return max(map(len, [*column.heading.split(), *lines]), default=1)


def _natural_width(table: Table) -> int:
    """The width with every interval behind its estimate and every name in one line."""
    return sum(
        _width(column, place, table.rows, below=False) + 1
        for place, column in enumerate(table.columns)
    )


def _broken(text: str, width: int) -> str:
    """Text in lines of `width`; words that are longer are broken behind : / _ and - if they can."""
    lines: list[str] = []
    for given in text.split("\n"):
        lines.append("")
        for word in given.split():
            pieces = [word] if len(word) <= width else re.findall(r"[^:/_-]*[:/_-]+|[^:/_-]+", word)
            for number, piece in enumerate(pieces):
                gap = " " if lines[-1] and not number else ""
                if lines[-1] and len(lines[-1] + gap + piece) > width:
                    lines.append(piece)
                else:
                    lines[-1] += gap + piece
    return "\n".join(lines)


def _printed(parts: Iterable[object], width: int) -> str:
    from rich.console import Console
    from rich.text import Text

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    for part in parts:
        for piece in part if isinstance(part, tuple) else (part,):
            console.print(Text(piece) if isinstance(piece, str) else piece)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

"""Tables for a terminal."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from frostline.report.statistics.names import ALIKE, ALONE
from frostline.report.tables import escape
from frostline.report.tables.note_lines import left_out, split_notes
from frostline.report.tables.table import Cell, Column, Row, Table

if TYPE_CHECKING:
    import rich.table

LEAST_NAME = 10  # columns of the terminal
MOST_HEADING = 20  # longer words are broken
NARROW = 13  # of reasons without room: as wide as an interval
STARS = {"": "", ALIKE: "*", ALONE: "**"}


@dataclass(frozen=True)
class _Layout:
    """How a number is written: with its interval below it, and its reason in lines of `wrap`."""

    below: bool = False
    wrap: int = MOST_HEADING


def to_terminal(table: Table, width: int = 80) -> str:
    """Write a table of at most `width` columns, a part for each data set, then its notes.

    Intervals stand behind their estimates where there is room, else below them, and reasons why
    there is none in lines as wide. Columns of numbers for which there is still no room follow in
    further parts, the words again in each.
    """
    below = _natural_width(table) > width and any(c.low for row in table.rows for c in row.cells)
    layout = _Layout(below, NARROW if below else MOST_HEADING)
    pieces = _pieces(table, layout, width)
    parts = [
        _part(piece, dataset, dict(piece.parts())[dataset], layout, width)
        for dataset in table.datasets
        for piece in pieces
    ]
    return _printed([*parts, *notes_to_terminal(table)], width)


def notes_to_terminal(table: Table) -> list[str]:
    """Write the notes alone, each as a line that is not yet wrapped."""
    shown, rest = split_notes(table, (STARS[ALIKE], STARS[ALONE]))
    return [escape.plain(note) for note in (*shown, *left_out(table, rest))]


def wrapped(paragraphs: Iterable[str], width: int = 80) -> str:
    """Write paragraphs in lines of at most `width`; an empty one is an empty line."""
    return _printed(map(escape.plain, paragraphs), width)


def _pieces(table: Table, layout: _Layout, width: int) -> list[Table]:
    """Split a table into such that fit, each with all columns of words."""
    widths = [_width(c, place, table.rows, layout) + 1 for place, c in enumerate(table.columns)]
    words = [place for place, column in enumerate(table.columns) if not column.numbers]
    # The last column needs no gap behind it.
    room = width + 1 - sum(min(widths[place], LEAST_NAME + 1) for place in words)
    pieces: list[list[int]] = [[]]
    for place in sorted(set(range(len(widths))) - set(words)):
        if pieces[-1] and sum(widths[one] for one in pieces[-1]) + widths[place] > room:
            pieces.append([])
        pieces[-1].append(place)
    return [_with_columns(table, sorted([*words, *piece])) for piece in pieces]


def _with_columns(table: Table, places: Sequence[int]) -> Table:
    rows = (replace(row, cells=tuple(row.cells[i] for i in places)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in places), rows=tuple(rows))


def _part(
    table: Table, dataset: str, rows: list[Row], layout: _Layout, width: int
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
        _width(column, place, table.rows, layout) for place, column in enumerate(table.columns)
    ]
    taken = sum(w for w, column in zip(widths, table.columns, strict=True) if column.numbers)
    left = max(width - taken - len(widths), LEAST_NAME)
    for place, (column, own) in enumerate(zip(table.columns, widths, strict=True)):
        if column.numbers:
            heading = textwrap.fill(escape.plain(column.heading), max(own, 1))
            drawn.add_column(heading, justify="right", no_wrap=True)
        else:
            # Words give way to numbers.
            drawn.add_column(
                column.heading, overflow="fold", ratio=1 if layout.below and not place else None
            )
    for row in rows:
        cells = [
            _number(cell, layout) if column.numbers else _word(cell, left)
            for cell, column in zip(row.cells, table.columns, strict=True)
        ]
        drawn.add_row(*map(Text, cells))
    return drawn, ""


def _number(cell: Cell, layout: _Layout) -> str:
    text = f"{STARS[cell.mark]}{escape.plain(cell.text)}"
    if cell.detail:
        return f"{text}\n{textwrap.fill(f'({escape.plain(cell.detail)})', layout.wrap)}"
    return ("\n" if layout.below else " ").join([text, *cell.intervals])


def _word(cell: Cell, width: int) -> str:
    text = escape.plain(cell.text, 60)
    detail = f"\n{escape.plain(cell.detail, 80)}" if cell.detail else ""
    return _broken(text + detail, width)


def _width(column: Column, place: int, rows: Iterable[Row], layout: _Layout) -> int:
    """Measure the least width of a column of numbers, the natural one of words."""
    cells = [row.cells[place] for row in rows]
    if not column.numbers:
        texts = [part for cell in cells for part in (cell.text, cell.detail)]
        return max(map(len, [column.heading, *texts]))
    lines = [line for cell in cells for line in _number(cell, layout).split("\n")]
    longest = max(map(len, column.heading.split()), default=1)
    return max(min(longest, MOST_HEADING), *map(len, lines), 1)


def _natural_width(table: Table) -> int:
    """Measure the width with every interval behind its estimate and every name in one line."""
    return sum(
        _width(column, place, table.rows, _Layout()) + 1
        for place, column in enumerate(table.columns)
    )


def _broken(text: str, width: int) -> str:
    """Break text into lines of `width`, and longer words behind : / _ and - if they have any."""
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
    # In a notebook rich would show it there and then, and leave nothing in the file.
    console = Console(
        file=out, width=width, color_system=None, legacy_windows=False, force_jupyter=False
    )
    for part in parts:
        for piece in part if isinstance(part, tuple) else (part,):
            console.print(Text(piece) if isinstance(piece, str) else piece)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

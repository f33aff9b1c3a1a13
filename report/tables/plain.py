"""A table of texts with footnotes, in every format: for results that are no grid of scores."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import in_words
from frostline.report.tables import escape
from frostline.report.tables.formats import to_json

PLAIN_FORMATS = ("table", "csv", "json", "markdown", "latex")


def render_plain(
    frame: pd.DataFrame,
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    format: str = "table",
) -> str:
    """As text: `csv` and `json` are the frame itself, in full precision; the rest the rows.

    Parameters
    ----------
    frame : DataFrame
        The results.
    headings, rows : sequences of str
        The same as they are shown; the first two columns are words, the others numbers.
    notes : sequence of str
        Below the table.
    """
    if format == "csv":
        if "notes" in frame:
            frame = in_words(frame)
        return frame.to_csv(index=False, lineterminator="\n")
    if format == "json":
        return to_json(frame)
    if format == "markdown":
        return _markdown(headings, rows, notes)
    if format == "latex":
        return _latex(headings, rows, notes)
    if format == "table":
        return _terminal(headings, rows, notes)
    raise InputError(f"there is no format {format!r}; choose from {', '.join(PLAIN_FORMATS)}.")


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = ["| " + " | ".join(headings) + " |"]
    lines.append("|" + " --- |" * 2 + " ---: |" * (len(headings) - 2))
    lines += ["| " + " | ".join(map(escape.markdown, row)) + " |" for row in rows]
    return "\n".join([*lines, "", *(f"{escape.markdown(note)}  " for note in notes)]) + "\n"


def _latex(headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str]) -> str:
    lines = [r" & ".join(map(escape.latex, headings)) + r" \\", r"\midrule"]
    lines += [" & ".join(f"{{{escape.latex(cell)}}}" for cell in row) + r" \\" for row in rows]
    below = r" \\ ".join(f"{{{escape.latex(note)}}}" for note in notes)
    return "\n".join([
        r"% needs \usepackage{booktabs,graphicx,textcomp} and \usepackage[T1]{fontenc}",
        r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{ll{'r' * (len(headings) - 2)}}}", r"\toprule", *lines,
        r"\bottomrule", r"\end{tabular}}", r"\par\medskip",
        rf"\begin{{minipage}}{{\textwidth}}\footnotesize {below}\end{{minipage}}",
    ]) + "\n"  # fmt: skip


def _terminal(
    headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str], width: int = 80
) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for place, heading in enumerate(headings):
        if place < 2:
            table.add_column(heading, overflow="fold")
            continue
        # Words give way to numbers, and headings are no wider than what stands below.
        least = max((len(row[place]) for row in rows), default=1)
        short = textwrap.fill(heading, max(least, 1), break_long_words=False)
        table.add_column(short, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(escape.plain(cell)) for cell in row))
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, legacy_windows=False)
    console.print(table)
    console.print()
    for note in notes:
        console.print(Text(escape.plain(note)))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"

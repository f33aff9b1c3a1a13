"""Tables in every format: for programs, papers, pages of text and terminals.

A new format is a function and a line in `FORMATS`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import pandas as pd

from frostline.report import escape
from frostline.report.errors import InputError
from frostline.report.layout import PAPER_METRICS, Grid, Row, make_grid

CSV_COLUMNS = ("run", "metric", "estimate", "low", "high")
# What pdfTeX sets as it is, in T1 encoding.
LAST_LATIN = "\u017f"
PAPER_CAPTION = "Scores in percent with 95% intervals, in the layout of the paper's tables"


def to_csv(frame: pd.DataFrame) -> str:
    """`run,metric,estimate,low,high`, as fractions in full precision; no interval is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in frame[list(CSV_COLUMNS)].itertuples(index=False):
        numbers = ["" if pd.isna(value) else repr(float(value)) for value in row[2:]]
        writer.writerow([*row[:2], *numbers])
    return out.getvalue()


def to_json(frame: pd.DataFrame) -> str:
    """A list of objects with every column of the frame; what is missing is null."""
    records = [
        {name: _json_value(value) for name, value in row.items()}
        for row in frame.astype(object).to_dict("records")
    ]
    return json.dumps(records, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(frame: pd.DataFrame) -> str:
    """All metrics as a Markdown table with footnotes."""
    return grid_to_markdown(make_grid(frame))


def to_latex(frame: pd.DataFrame) -> str:
    """All metrics as a LaTeX table; needs the package booktabs."""
    return grid_to_latex(make_grid(frame))


def to_terminal(frame: pd.DataFrame, width: int = 80) -> str:
    """A table of at most `width` columns for a terminal: intervals stand under their estimates."""
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    grid = make_grid(frame)
    parts: list[Table | Text] = []
    for block in grid.blocks:
        table = Table(
            title=Text(escape.plain(block.dataset)), title_justify="left", box=None,
            padding=(0, 1, 0, 0), show_edge=False, pad_edge=False,
        )  # fmt: skip
        table.add_column("Model", overflow="fold", ratio=1)
        for heading in grid.headings:
            table.add_column(heading, justify="right", no_wrap=False)
        for row in block.rows:
            cells = [Text(f"{score.estimate}\n{score.interval}") for score in row.scores]
            table.add_row(Text(_terminal_label(row)), *cells)
        parts += [table, Text("")]
    parts += [Text(escape.plain(note)) for note in grid.footnotes]
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(Group(*parts))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "table": to_terminal,
    "csv": to_csv,
    "json": to_json,
    "markdown": to_markdown,
    "latex": to_latex,
}


def render(frame: pd.DataFrame, format: str = "table") -> str:
    """What `evaluate` returned as text, in one of `FORMATS`."""
    if format not in FORMATS:
        raise InputError(f"there is no format {format!r}; choose from {', '.join(FORMATS)}.")
    return FORMATS[format](frame)


def paper_table(frame: pd.DataFrame, format: str = "markdown") -> str:
    """The paper's layout: data set, model, freeze (Y, N, last blocks), four metrics.

    Parameters
    ----------
    format : "markdown" or "latex"
    """
    writers = {"markdown": grid_to_markdown, "latex": grid_to_latex}
    if format not in writers:
        raise InputError(f"there is no format {format!r}; choose from {', '.join(writers)}.")
    return writers[format](make_grid(frame, PAPER_METRICS, decimals=2, caption=PAPER_CAPTION))


def grid_to_markdown(grid: Grid) -> str:
    """A pipe table with its caption above and its footnotes below."""
    head = ["Data set", "Model", "Freeze", *grid.headings]
    lines = [f"**{escape.markdown(grid.caption)}**", "", _pipes(head)]
    lines.append(_pipes(["---"] * 3 + ["---:"] * len(grid.headings)))
    for block in grid.blocks:
        for index, row in enumerate(block.rows):
            name = escape.markdown(block.dataset) if index == 0 else ""
            scores = [str(score) for score in row.scores]
            lines.append(_pipes([name, escape.markdown(row.label), row.freeze, *scores]))
    lines += ["", *(f"{escape.markdown(note)}  " for note in grid.footnotes)]
    return "\n".join(lines) + "\n"


def grid_to_latex(grid: Grid) -> str:
    """A `table*` with booktabs rules; characters beyond Latin need LuaLaTeX, said in a comment."""
    columns = "l" * 3 + "r" * len(grid.headings)
    head = ["Data set", "Model", "Freeze", *map(escape.latex, grid.headings)]
    body = [r"\toprule", " & ".join(head) + r" \\"]
    for block in grid.blocks:
        body.append(r"\midrule")
        for index, row in enumerate(block.rows):
            name = escape.latex(block.dataset) if index == 0 else ""
            cells = [name, escape.latex(row.label), escape.latex(row.freeze)]
            # Braces keep a cell that begins with "[" from being read as an option of "\\".
            cells += [f"{{{escape.latex(score)}}}" for score in row.scores]
            body.append(" & ".join(cells) + r" \\")
    notes = r" \\ ".join(f"{{{escape.latex(note)}}}" for note in grid.footnotes)
    lines = [
        r"% needs \usepackage{booktabs,graphicx,textcomp} and \usepackage[T1]{fontenc}",
        r"\begin{table*}", r"\centering", rf"\caption{{{escape.latex(grid.caption)}}}",
        r"\resizebox{\textwidth}{!}{%", rf"\begin{{tabular}}{{{columns}}}", *body, r"\bottomrule",
        r"\end{tabular}}", r"\par\medskip",
        rf"\begin{{minipage}}{{\textwidth}}\footnotesize {notes}\end{{minipage}}",
        r"\end{table*}",
    ]  # fmt: skip
    if any(c > LAST_LATIN for line in lines for c in line):
        lines.insert(0, "% has characters beyond Latin: compile with LuaLaTeX and a font of them")
    return "\n".join(lines) + "\n"


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _terminal_label(row: Row) -> str:
    words = ", ".join(word for word in (row.trained, row.details) if word)
    return escape.plain(row.model, 60) + (f"\n{escape.plain(words, 80)}" if words else "")


def _json_value(value: object) -> object:
    if isinstance(value, dict | list | str | bool):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return None
    return value.item() if hasattr(value, "item") else value

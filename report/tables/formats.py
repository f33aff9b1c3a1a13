"""Tables in every format: for programs, papers, pages of text and terminals.

A new format is a function and a line in `FORMATS`.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable

import pandas as pd

from frostline.cache.errors import InputError
from frostline.report.notes import notes_to_json
from frostline.report.tables import escape
from frostline.report.tables.layout import PAPER_METRICS, Grid, Row, make_grid

CSV_COLUMNS = ("run", "metric", "estimate", "low", "high")
# What pdfTeX sets as it is, in T1 encoding.
LAST_LATIN = "\u017f"
# Compiled alone, a table is a document; inside a paper it is a table only.
LATEX_ALONE = (
    r"% in a paper: \input this file; needs \usepackage{booktabs,graphicx,textcomp} and",
    r"% \usepackage[T1]{fontenc}",
    r"\expandafter\ifx\csname @nodocument\endcsname\relax\else",
    r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{booktabs,graphicx,textcomp}",
    r"\begin{document}\def\frostlinealone{}",
    r"\fi",
)
LATEX_END = r"\ifdefined\frostlinealone\end{document}\fi"
HTML_MARKS = (("<u>", "</u>"), ("<strong>", "</strong>"))
LEAST_NAME = 10  # columns of a terminal
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
    return grid_to_terminal(make_grid(frame), width)


def grid_to_terminal(grid: Grid, width: int = 80) -> str:
    """The same of a table that is laid out; rows marked as best have a star."""
    from rich.console import Console, Group
    from rich.table import Table
    from rich.text import Text

    # A cell is as wide as its interval, and the names get what is left.
    shown = [row.scores for block in grid.blocks for row in block.rows]
    widths = [
        max([*map(len, heading.split()), *(len(row[place].interval) for row in shown)])
        for place, heading in enumerate(grid.headings)
    ]
    left = max(width - sum(widths) - len(widths) - 1, LEAST_NAME)
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
            cells = [
                Text(f"{'*' if score.mark else ''}{score.estimate}\n{score.interval}")
                for score in row.scores
            ]
            table.add_row(Text(_broken(_terminal_label(row), left)), *cells)
        parts += [table, Text("")]
    notes = [
        note.replace("Underlined:", "*:").replace("bold:", "alone:") for note in grid.footnotes
    ]
    parts += [Text(escape.plain(note)) for note in notes]
    out = io.StringIO()
    Console(file=out, width=width, color_system=None, legacy_windows=False).print(Group(*parts))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


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


def paper_table(
    frame: pd.DataFrame,
    format: str = "markdown",
    *,
    marks: pd.DataFrame | None = None,
    primary: str = "",
) -> str:
    """The paper's layout: data set, model, freeze (Y, N, last blocks), four metrics.

    Parameters
    ----------
    format : "markdown", "latex", "html" or "csv"
    marks, primary
        As of `make_grid`.
    """
    if format not in WRITERS:
        raise InputError(f"there is no format {format!r}; choose from {', '.join(WRITERS)}.")
    return WRITERS[format](paper_grid(frame, marks=marks, primary=primary))


def paper_grid(
    frame: pd.DataFrame, *, marks: pd.DataFrame | None = None, primary: str = ""
) -> Grid:
    """What `paper_table` writes."""
    return make_grid(
        frame, PAPER_METRICS, decimals=2, caption=PAPER_CAPTION, marks=marks, primary=primary
    )


def grid_to_markdown(grid: Grid) -> str:
    """A pipe table with its caption above and its footnotes below."""
    head = ["Data set", "Model", "Freeze", *grid.headings]
    lines = [f"**{escape.markdown(grid.caption)}**", "", _pipes(head)]
    lines.append(_pipes(["---"] * 3 + ["---:"] * len(grid.headings)))
    for block in grid.blocks:
        for index, row in enumerate(block.rows):
            name = escape.markdown(block.dataset) if index == 0 else ""
            label = _marked(escape.markdown(row.label), row.mark, ("<ins>", "</ins>"), ("**", "**"))
            scores = [
                f"{_marked(score.estimate, score.mark, ('<ins>', '</ins>'), ('**', '**'))} "
                f"{score.interval}".strip()
                for score in row.scores
            ]
            lines.append(_pipes([name, label, row.freeze, *scores]))
    lines += ["", *(f"{escape.markdown(note)}  " for note in grid.footnotes)]
    return "\n".join(lines) + "\n"


def grid_to_latex(grid: Grid) -> str:
    """A `table*` with booktabs rules, which compiles as it is and can be put into a paper.

    Characters beyond Latin need LuaLaTeX, said in a comment.
    """
    columns = "l" * 3 + "r" * len(grid.headings)
    head = ["Data set", "Model", "Freeze", *map(escape.latex, grid.headings)]
    body = [r"\toprule", " & ".join(head) + r" \\"]
    for block in grid.blocks:
        body.append(r"\midrule")
        for index, row in enumerate(block.rows):
            name = escape.latex(block.dataset) if index == 0 else ""
            cells = [name, _latex_marked(row.label, row.mark), escape.latex(row.freeze)]
            # Braces keep a cell that begins with "[" from being read as an option of "\\".
            cells += [
                f"{{{_latex_marked(score.estimate, score.mark)} {escape.latex(score.interval)}}}"
                for score in row.scores
            ]
            body.append(" & ".join(cells) + r" \\")
    notes = r" \\ ".join(f"{{{escape.latex(note)}}}" for note in grid.footnotes)
    lines = [
        *LATEX_ALONE, r"\begin{table*}", r"\centering",
        rf"\caption{{{escape.latex(grid.caption)}}}", r"\resizebox{\textwidth}{!}{%",
        rf"\begin{{tabular}}{{{columns}}}", *body, r"\bottomrule", r"\end{tabular}}",
        r"\par\medskip",
        rf"\begin{{minipage}}{{\textwidth}}\footnotesize {notes}\end{{minipage}}",
        r"\end{table*}", LATEX_END,
    ]  # fmt: skip
    if any(c > LAST_LATIN for line in lines for c in line):
        lines.insert(0, "% has characters beyond Latin: compile with LuaLaTeX and a font of them")
    return "\n".join(lines) + "\n"


def grid_to_html(grid: Grid) -> str:
    """A `table` without style, and its footnotes, to be put into a page."""
    head = "".join(
        f'<th scope="col">{html.escape(name)}</th>'
        for name in ("Data set", "Model", "Freeze", *grid.headings)
    )
    lines = [
        "<table>",
        f"<caption>{_html(grid.caption)}</caption>",
        f"<thead><tr>{head}</tr></thead>",
    ]
    for block in grid.blocks:
        lines.append("<tbody>")
        for row in block.rows:
            cells = "".join(
                f"<td>{_marked(score.estimate, score.mark, *HTML_MARKS)} {score.interval}</td>"
                for score in row.scores
            )
            label = _marked(_html(row.label), row.mark, *HTML_MARKS)
            lines.append(
                f'<tr><td>{_html(block.dataset)}</td><th scope="row">{label}</th>'
                f"<td>{_html(row.freeze)}</td>{cells}</tr>"
            )
        lines.append("</tbody>")
    notes = "".join(f"<li>{_html(note)}</li>" for note in grid.footnotes)
    return "\n".join([*lines, "</table>", f"<ul>{notes}</ul>"]) + "\n"


def grid_to_csv(grid: Grid) -> str:
    """A row a run, numbers as they are shown: three columns a metric, bounds empty if none."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f"{name}{of}" for name in grid.headings for of in ("", " low", " high")]
    writer.writerow(["data set", "model", "freeze", "mark", *names])
    for block in grid.blocks:
        for row in block.rows:
            bounds = [score.interval.strip("[]").split(", ") for score in row.scores]
            cells = [
                cell
                for score, pair in zip(row.scores, bounds, strict=True)
                for cell in (score.estimate, *(pair if len(pair) == 2 else ("", "")))
            ]
            writer.writerow([block.dataset, row.label, row.freeze, row.mark, *cells])
    return out.getvalue()


WRITERS: dict[str, Callable[[Grid], str]] = {
    "markdown": grid_to_markdown,
    "latex": grid_to_latex,
    "html": grid_to_html,
    "csv": grid_to_csv,
}


def _marked(text: str, mark: str, line: tuple[str, str], bold: tuple[str, str]) -> str:
    """Text between what underlines it, or what makes it bold."""
    start, end = {"": ("", ""), "alike": line, "alone": bold}[mark]
    return f"{start}{text}{end}"


def _latex_marked(text: str, mark: str) -> str:
    return _marked(escape.latex(text), mark, (r"\underline{", "}"), (r"\textbf{", "}"))


def _html(text: str) -> str:
    return html.escape(escape.plain(text))


def _pipes(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _terminal_label(row: Row) -> str:
    words = ", ".join(word for word in (row.trained, row.details) if word)
    return escape.plain(row.model, 60) + (f"\n{escape.plain(words, 80)}" if words else "")


def _json_value(value: object) -> object:
    if isinstance(value, tuple):
        return notes_to_json(value)
    if isinstance(value, dict | list | str | bool):
        return value
    if value is None or pd.isna(value):  # type: ignore[call-overload]
        return None
    return value.item() if hasattr(value, "item") else value
